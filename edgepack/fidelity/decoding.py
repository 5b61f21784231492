"""The reference writing text: its float32 arithmetic token by token, with a cache of K and V.

All sequences take a step together, so that each matrix is read once for all of them; the weights
are held in float32, which bounds the models this is for. Greedy choices are llama.cpp's own on the
same weights (tests/fidelity/test_decoding.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgepack.errors import Unsupported
from edgepack.fidelity.reference import (
    LayerWeights,
    check_documents,
    feed_forward,
    linear,
    mix,
    rms_norm,
    rotate,
    rotation,
)
from edgepack.models import Checkpoint, features
from edgepack.models.decoder import Attention

LARGEST: Final = 2_000_000_000  # parameters, 8 GB of float32
Array = NDArray[np.float32]
Rounding = Callable[[Array], Array]
Choose = Callable[[Array, NDArray[np.intp], int], NDArray[np.intp]]
"""Of logits [n, vocabulary], the sequences they belong to and the step, the next tokens [n]."""


def exact(x: Array) -> Array:
    """No rounding."""
    return x


def bfloat16(x: Array) -> Array:
    """Each number rounded to the nearest bfloat16, ties to even, as runtimes keep activations."""
    bits = np.ascontiguousarray(x).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    result: Array = rounded.astype(np.uint32).view(np.float32)
    return result


@dataclass(slots=True)
class Written:
    """A continuation: its tokens, and the reference's gap, first logit less second, at each."""

    tokens: list[int] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    stopped: bool = False


@dataclass(slots=True)
class _Sequence:
    """What one sequence keeps: K and V of every layer, [capacity, kv heads, head size]."""

    capacity: int
    length: int = 0
    cache: dict[int, tuple[Array, Array]] = field(default_factory=dict)


class Decoding:
    """The checkpoint, held in float32. `rounding` is done to what passes between its parts.

    Raises Unsupported for a decoder that cannot be run, or is too large to be held.
    """

    def __init__(self, checkpoint: Checkpoint, rounding: Rounding = exact) -> None:
        features.check_known(checkpoint.decoder, features.PLAIN, "the float32 reference")
        if checkpoint.parameters > LARGEST:
            raise Unsupported(
                f"{checkpoint.name} has {checkpoint.parameters:,} parameters: writing text with "
                f"the float32 reference is for {LARGEST:,} at most",
                "leave out --generate and --self-sample",
            )
        self._decoder, self._rounding = checkpoint.decoder, rounding
        self._weights: dict[int | None, LayerWeights] = {}
        for weight in self._decoder.weights:
            if weight.source is not None:
                held = self._weights.setdefault(weight.layer, {})
                held[weight.role] = checkpoint.ref(weight).read()

    def rounded(self, rounding: Rounding) -> Decoding:
        """The same weights, with another rounding."""
        other = object.__new__(Decoding)
        other._decoder, other._rounding = self._decoder, rounding
        other._weights = self._weights
        return other

    def write(
        self,
        prompts: Sequence[Sequence[int]],
        limit: int,
        stop_ids: Collection[int],
        choose: Choose | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> list[Written]:
        """At most `limit` tokens after each prompt, the likeliest unless `choose` takes others.

        A stop token, when reached, is the last. Raises UsageError for a prompt without tokens, or
        with ids outside the vocabulary.
        """
        check_documents(prompts, self._decoder.vocabulary)
        written = [Written() for _ in prompts]
        states = [_Sequence(len(ids) + limit) for ids in prompts]
        given = [list(ids) for ids in prompts]
        for step in range(limit):
            going = [i for i, one in enumerate(written) if not one.stopped]
            if not going:
                break
            logits = self._extend([states[i] for i in going], [given[i] for i in going])
            tokens = choose(logits, np.array(going), step) if choose else logits.argmax(axis=1)
            for row, (index, token) in enumerate(zip(going, tokens.tolist(), strict=True)):
                second, first = np.partition(logits[row], -2)[-2:]
                written[index].tokens.append(token)
                written[index].gaps.append(float(first) - float(second))
                written[index].stopped = token in stop_ids
                given[index] = [token]
            progress(step + 1, limit)
        return written

    def _extend(self, states: Sequence[_Sequence], given: Sequence[Sequence[int]]) -> Array:
        """Logits [sequences, vocabulary] after `given` more tokens of each."""
        ids = np.concatenate([np.asarray(each) for each in given])
        ends = np.cumsum([len(each) for each in given])
        starts = ends - [len(each) for each in given]
        rows = [slice(int(a), int(b)) for a, b in zip(starts, ends, strict=True)]
        positions = np.concatenate(
            [s.length + np.arange(len(g)) for s, g in zip(states, given, strict=True)]
        )
        outer, epsilon, rounding = self._weights[None], self._decoder.norm_epsilon, self._rounding
        hidden = outer["token_embd.weight"][ids]
        for index, layer in enumerate(self._decoder.layers):
            weights = self._weights[index]
            normed = rounding(rms_norm(hidden, weights["attn_norm.weight"], epsilon))
            mixed = self._attend(index, layer.attention, normed, positions, states, rows)
            hidden = rounding(hidden + rounding(mixed))
            normed = rounding(rms_norm(hidden, weights["ffn_norm.weight"], epsilon))
            hidden = rounding(hidden + rounding(feed_forward(normed, weights)))
        for state, each in zip(states, given, strict=True):
            state.length += len(each)
        last = rounding(rms_norm(hidden[ends - 1], outer["output_norm.weight"], epsilon))
        head = "token_embd" if self._decoder.tied_embeddings else "output"
        return linear(last, {f"{head}.weight": outer[f"{head}.weight"]}, head)

    def _attend(
        self,
        index: int,
        attention: Attention,
        x: Array,
        positions: NDArray[np.int64],
        states: Sequence[_Sequence],
        rows: Sequence[slice],
    ) -> Array:
        """Attention of new tokens, [tokens, width], over those before them in their sequences."""
        weights, rounding = self._weights[index], self._rounding
        cos, sin = rotation(attention, positions)

        def heads(name: str, count: int) -> Array:
            projected = linear(x, weights, name).reshape(len(x), count, attention.head_dim)
            norm = weights.get(f"{name}_norm.weight")
            return (
                projected if norm is None else rms_norm(projected, norm, self._decoder.norm_epsilon)
            )

        q = rotate(heads("attn_q", attention.heads), cos, sin)
        q = rounding(q) / np.float32(sqrt(attention.head_dim))
        k = rounding(rotate(heads("attn_k", attention.kv_heads), cos, sin))
        v = rounding(heads("attn_v", attention.kv_heads))
        mixed = np.empty_like(q)
        for state, part in zip(states, rows, strict=True):
            keys, values = _kept(state, index, k[part], v[part])
            mixed[part] = mix(q[part], keys, values)
        return linear(rounding(mixed.reshape(len(x), -1)), weights, "attn_output")


def _kept(state: _Sequence, index: int, k: Array, v: Array) -> tuple[Array, Array]:
    """All K and V of a layer, the new ones among them."""
    if index not in state.cache:
        shape = (state.capacity, *k.shape[1:])
        state.cache[index] = np.empty(shape, np.float32), np.empty(shape, np.float32)
    keys, values = state.cache[index]
    end = state.length + len(k)
    keys[state.length : end], values[state.length : end] = k, v
    return keys[:end], values[:end]


def sampler(temperature: float, seed: int) -> Choose:
    """Tokens drawn from softmax(logits / temperature), by the largest of logits and Gumbel noise.

    What a sequence draws depends on `seed` and its place alone, not on those beside it.
    """

    def choose(logits: Array, sequences: NDArray[np.intp], step: int) -> NDArray[np.intp]:
        drawn = [
            np.argmax(
                row.astype(np.float64) / temperature
                + np.random.default_rng([seed, int(index), step]).gumbel(size=len(row))
            )
            for row, index in zip(logits, sequences, strict=True)
        ]
        return np.array(drawn)

    return choose
