"""The full-precision reference: the checkpoint itself, run in float32, one layer at a time.

Every document goes through one layer before the next layer is read, so each weight is read once
and memory holds one layer and the hidden states. Logits are made per document, from the final
states and the head as it is stored; nothing is truncated.

Arithmetic: Vaswani et al. 2017 with RMSNorm (Zhang & Sennrich 2019), rotary embedding
(Su et al. 2021, halves rotated), grouped queries (Ainslie et al. 2023), SwiGLU (Shazeer 2020).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, pairwise
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from edgepack.errors import UsageError
from edgepack.fidelity.head import Head
from edgepack.fidelity.rounding import ROUNDED, Arithmetic, Array, Rounding, exact
from edgepack.formats.slabs import slabs
from edgepack.models import Checkpoint, TensorRef, features
from edgepack.models.decoder import Attention
from edgepack.models.rope import frequencies

BATCH_ROWS = 2048  # tokens run together: bounds what a layer needs beside its weights
QUERY_ROWS = 256  # queries scored at once: bounds the score matrix to heads x 256 x length

Progress = Callable[[int, int], None]
LayerWeights = dict[str, Array]


@dataclass(frozen=True, slots=True)
class Lane:
    """Sequences of token ids that go through the layers together, in this arithmetic.

    Lanes do not see each other: each gives the same bits whichever others run beside it. `name`
    tells apart those of equal ids.
    """

    name: str
    documents: Sequence[Sequence[int]]
    arithmetic: Arithmetic = "F32"

    def batches(self) -> Iterator[list[slice]]:
        """Neighbouring documents, as rows of the hidden states, at least BATCH_ROWS together."""
        batch: list[slice] = []
        for start, stop in pairwise(starts(self)):
            batch.append(slice(start, stop))
            if stop - batch[0].start >= BATCH_ROWS:
                yield batch
                batch = []
        if batch:
            yield batch


def starts(lane: Lane) -> list[int]:
    """Where each document begins among the lane's rows, and where the last one ends."""
    return [0, *accumulate(len(ids) for ids in lane.documents)]


class States:
    """A lane's final hidden states, [tokens, width], and the head that makes logits of them."""

    def __init__(self, lane: Lane, hidden: Array, head: Callable[[], Head]) -> None:
        self.lane, self.hidden, self._head = lane, hidden, head
        self._starts = starts(lane)

    def logits(self, index: int) -> Array:
        """Logits of document `index` at every position, [tokens, vocabulary]."""
        rows = self.hidden[self._starts[index] : self._starts[index + 1]]
        return self._head().logits(ROUNDED[self.lane.arithmetic](rows))


class Reference(States):
    """Float32 logits of `documents` (token ids), computed once for all of them.

    `progress` is called with layers done and layers in all. Raises as `check_lanes` does.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        documents: Sequence[Sequence[int]],
        progress: Progress = lambda done, total: None,
    ) -> None:
        lane = Lane("documents", documents)
        check_lanes(checkpoint, [lane])
        super().__init__(lane, run(checkpoint, [lane], progress)[0], head(checkpoint))


def check_lanes(checkpoint: Checkpoint, lanes: Sequence[Lane]) -> None:
    """Raises Unsupported for a decoder that cannot be run, UsageError for an empty document and
    for ids outside the vocabulary."""
    features.check_known(checkpoint.decoder, features.PLAIN, "the float32 reference")
    for lane in lanes:
        check_documents(lane.documents, checkpoint.decoder.vocabulary)


def head(checkpoint: Checkpoint) -> Callable[[], Head]:
    """The output head, read when it is first asked for."""
    role = "token_embd" if checkpoint.decoder.tied_embeddings else "output"
    return cache(lambda: Head(_ref(checkpoint, f"{role}.weight")))


def run(checkpoint: Checkpoint, lanes: Sequence[Lane], progress: Progress) -> list[Array]:
    """Final normalised hidden states of every lane's documents laid end to end, [tokens, width].

    One pass: a layer is read once and held alone. Lanes are as `check_lanes` wants them.
    """
    decoder = checkpoint.decoder
    states = [_embed(checkpoint, np.concatenate([*map(np.asarray, x.documents)])) for x in lanes]
    for index, layer in enumerate(decoder.layers):
        weights = _layer(checkpoint, index)
        for lane, hidden in zip(lanes, states, strict=True):
            rounded = ROUNDED[lane.arithmetic]
            for batch in lane.batches():
                rows = hidden[batch[0].start : batch[-1].stop]
                run_layer(rows, weights, layer.attention, batch, decoder.norm_epsilon, rounded)
        del weights  # before the next layer is read, so that one is held at a time
        progress(index + 1, len(decoder.layers))
    weight = _ref(checkpoint, "output_norm.weight").read()
    for lane, hidden in zip(lanes, states, strict=True):
        for batch in lane.batches():  # in place, or the states would be there twice
            rows = hidden[batch[0].start : batch[-1].stop]
            rows[:] = rms_norm(rows, weight, decoder.norm_epsilon)
    return states


def _embed(checkpoint: Checkpoint, ids: NDArray[np.int64]) -> Array:
    """Rows of the embedding for `ids`, [tokens, width]; the table is read in slabs."""
    ref = _ref(checkpoint, "token_embd.weight")
    hidden = np.empty((len(ids), ref.columns), np.float32)
    for slab in slabs(ref):
        here = (ids >= slab.start) & (ids < slab.stop)
        if here.any():
            hidden[here] = ref.read_rows(slab.start, slab.stop)[ids[here] - slab.start]
    return hidden


def _ref(checkpoint: Checkpoint, role: str) -> TensorRef:
    weights = checkpoint.decoder.weights
    return checkpoint.ref(next(w for w in weights if w.layer is None and w.role == role))


def _layer(checkpoint: Checkpoint, index: int) -> LayerWeights:
    weights = checkpoint.decoder.weights
    return {w.role: checkpoint.ref(w).read() for w in weights if w.layer == index}


def check_documents(documents: Sequence[Sequence[int]], vocabulary: int) -> None:
    if not documents or any(len(ids) == 0 for ids in documents):
        raise UsageError(
            "a document has no tokens" if documents else "there are no documents",
            "a corpus needs text in every line",
        )
    outside = next((i for ids in documents for i in ids if not 0 <= i < vocabulary), None)
    if outside is not None:
        raise UsageError(
            f"token id {outside} is outside the vocabulary of {vocabulary}",
            "tokenize with the checkpoint's own tokenizer",
        )


def run_layer(
    hidden: Array,
    weights: LayerWeights,
    attention: Attention,
    documents: Sequence[slice],
    epsilon: float,
    rounded: Rounding = exact,
) -> None:
    """One layer, added to `hidden` [tokens, width] in place.

    `documents` are neighbouring slices of all rows; the first one starts at row 0 of `hidden`.
    What every matrix is multiplied with is `rounded` first.
    """
    spans = [slice(d.start - documents[0].start, d.stop - documents[0].start) for d in documents]
    normed = rms_norm(hidden, weights["attn_norm.weight"], epsilon)
    hidden += attend(rounded(normed), weights, attention, spans, epsilon, rounded)
    normed = rms_norm(hidden, weights["ffn_norm.weight"], epsilon)
    hidden += feed_forward(rounded(normed), weights, rounded)


def rms_norm(x: Array, weight: Array, epsilon: float) -> Array:
    """x / sqrt(mean(x^2) + epsilon) * weight over the last axis."""
    scale = 1 / np.sqrt(np.mean(np.square(x), axis=-1, keepdims=True) + np.float32(epsilon))
    result: Array = x * scale * weight
    return result


def linear(x: Array, weights: LayerWeights, name: str) -> Array:
    """x [tokens, in] times the matrix [out, in] transposed, plus its bias where there is one."""
    result: Array = x @ weights[f"{name}.weight"].T
    bias = weights.get(f"{name}.bias")
    return result if bias is None else result + bias


def rotation(attention: Attention, positions: NDArray[np.int64]) -> tuple[Array, Array]:
    """cos and sin of every position's angles, [tokens, 1, dimensions / 2]."""
    angles = positions[:, None].astype(np.float32) * frequencies(attention.rope)
    return np.cos(angles)[:, None, :], np.sin(angles)[:, None, :]


def rotate(x: Array, cos: Array, sin: Array) -> Array:
    """Rotate [tokens, heads, head_dim]: pair i is (i, i + dimensions / 2)."""
    pairs = cos.shape[-1]
    first, second, rest = x[..., :pairs], x[..., pairs : 2 * pairs], x[..., 2 * pairs :]
    turned = (first * cos - second * sin, second * cos + first * sin, rest)
    return np.concatenate(turned, axis=-1)


def attend(
    x: Array,
    weights: LayerWeights,
    attention: Attention,
    spans: Sequence[slice],
    epsilon: float,
    rounded: Rounding = exact,
) -> Array:
    """Causal self-attention of every document in `spans`, [tokens, width]."""

    positions = np.concatenate([np.arange(span.stop - span.start) for span in spans])
    cos, sin = rotation(attention, positions)

    def heads(name: str, count: int) -> Array:
        projected = linear(x, weights, name).reshape(len(x), count, attention.head_dim)
        norm = weights.get(f"{name}_norm.weight")
        return projected if norm is None else rms_norm(projected, norm, epsilon)

    q = rotate(heads("attn_q", attention.heads), cos, sin) / np.float32(sqrt(attention.head_dim))
    k = rotate(heads("attn_k", attention.kv_heads), cos, sin)
    v = heads("attn_v", attention.kv_heads)
    mixed = np.empty_like(q)
    for span in spans:
        for rows in _query_rows(span):
            mixed[rows] = mix(q[rows], k[span.start : rows.stop], v[span.start : rows.stop])
    return linear(rounded(mixed.reshape(len(x), attention.q_width)), weights, "attn_output")


def _query_rows(span: slice) -> Iterator[slice]:
    for start in range(span.start, span.stop, QUERY_ROWS):
        yield slice(start, min(start + QUERY_ROWS, span.stop))


def mix(q: Array, k: Array, v: Array) -> Array:
    """Attention of the last len(q) positions over k and v [n, kv_heads, d], [len(q), heads, d]."""
    count, heads, head_dim = q.shape
    length, kv_heads = k.shape[:2]
    grouped = q.reshape(count, kv_heads, heads // kv_heads, head_dim)
    # [kv_heads, group * count, head_dim] @ [kv_heads, head_dim, length]
    queries = grouped.transpose(1, 2, 0, 3).reshape(kv_heads, -1, head_dim)
    scores: Array = (queries @ k.transpose(1, 2, 0)).reshape(kv_heads, -1, count, length)
    future = np.arange(length) > np.arange(length - count, length)[:, None]
    scores[..., future] = -np.inf
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)
    mixed = scores.reshape(kv_heads, -1, length) @ v.transpose(1, 0, 2)
    by_head = mixed.reshape(heads, count, head_dim)
    result: Array = by_head.transpose(1, 0, 2)
    return result


def feed_forward(x: Array, weights: LayerWeights, rounded: Rounding = exact) -> Array:
    """down(silu(gate(x)) * up(x)), [tokens, width]."""
    gate = linear(x, weights, "ffn_gate")
    with np.errstate(over="ignore"):  # exp overflows to inf, and silu to -0, as it should
        gate /= 1 + np.exp(-gate)
    return linear(rounded(gate * linear(x, weights, "ffn_up")), weights, "ffn_down")
