"""How often a target takes what a draft proposes, on given text.

A drafted token is taken with probability min(1, p / q), q the draft's and p the target's, so the
share that is taken is the sum of min(p, q) over the vocabulary (Leviathan et al. 2023, corollary
3.6), at temperature 1. Greedy, it is taken where both prefer the same token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgepack.errors import UsageError
from edgepack.fidelity.bootstrap import Bootstrap, Interval
from edgepack.fidelity.corpus import Document
from edgepack.memory.speculative import VOCABULARY_DIFFERENCE, speedup

FIRST_COMPARED: Final = 5
"""llama.cpp's first ids to be the same in both: those before are special (SPEC_VOCAB_CHECK_START_
TOKEN_ID)."""
COSTS: Final = (0.02, 0.05, 0.1, 0.2, 0.5)
_ROWS: Final = 256

Logits = Callable[[int], NDArray[np.float32]]
"""Of the document with this index, [T, vocabulary]."""


@dataclass(frozen=True, slots=True)
class Gain:
    """At a `cost`, the draft's time for a token in the target's: the best number of tokens to
    draft, how many a step of the target then gives, and how many times as fast that is."""

    cost: float
    drafted: int
    tokens_per_step: float
    times: float


@dataclass(frozen=True, slots=True)
class DraftReport:
    """`alpha` is the share of drafted tokens that the target takes, `greedy` the same where both
    choose the likeliest; `weights` is the gain where a token costs the bytes that it reads, None
    where these are not known."""

    draft: str
    target: str
    documents: int
    tokens: int
    alpha: Interval
    greedy: Interval
    gains: tuple[Gain, ...]
    weights: Gain | None = None


def check_vocabularies(
    draft: str, target: str, of_draft: Sequence[str], of_target: Sequence[str]
) -> None:
    """Raises UsageError where llama.cpp would refuse the pair: by size, or by a token's text."""
    hint = "take a draft of the target's family"
    difference = abs(len(of_draft) - len(of_target))
    if difference > VOCABULARY_DIFFERENCE:
        raise UsageError(
            f"{draft} cannot draft for {target}: vocabularies of {len(of_draft)} and "
            f"{len(of_target)} tokens differ by more than {VOCABULARY_DIFFERENCE}",
            hint,
        )
    pairs = enumerate(zip(of_draft, of_target, strict=False))
    for token, (a, b) in pairs:
        if token >= FIRST_COMPARED and a != b:
            raise UsageError(
                f"{draft} cannot draft for {target}: token {token} is {a!r} in the one and {b!r} "
                "in the other",
                hint,
            )


def pair_up(
    names: tuple[str, str],
    draft: Logits,
    target: Logits,
    documents: Sequence[Document],
    *,
    cost: float | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> DraftReport:
    """The report on draft and target (`names`, logits) over what a model writes in `documents`.

    `cost` is the ratio of the bytes of their weights.
    """
    shares, same, where = [], [], []
    for index, document in enumerate(documents):
        taken, alike = accepted(draft(index), target(index))
        written = np.array([span != "prompt" for span in document.spans[1:]], np.bool_)
        shares.append(taken[written])
        same.append(alike[written])
        where.append(np.full(int(written.sum()), index, np.int32))
        progress(index + 1, len(documents))
    sample = Bootstrap(np.concatenate(where), seed=seed)
    if not sample.tokens:
        raise UsageError("no document has a reply", "name a corpus of conversations: --corpus FILE")
    alpha = sample.mean(np.concatenate(shares))
    return DraftReport(
        *names,
        sample.documents,
        sample.tokens,
        alpha,
        sample.rate(np.concatenate(same)),
        tuple(gain(alpha.value, each) for each in COSTS),
        None if cost is None else gain(alpha.value, cost),
    )


def gain(alpha: float, cost: float) -> Gain:
    """The best draft length at this cost, by the law of memory/speculative."""
    best = speedup(alpha, cost)
    return Gain(cost, best.drafted, sum(alpha**i for i in range(best.drafted + 1)), best.times)


def accepted(
    draft: NDArray[np.float32], target: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """For each of T - 1 predicted tokens the share that is taken, and whether both prefer the same.

    Logits are [T, V] and [T, W]: a token that only one of them has is never agreed on.
    """
    common = min(draft.shape[1], target.shape[1])
    shares = []
    for start in range(0, len(draft) - 1, _ROWS):
        rows = slice(start, min(start + _ROWS, len(draft) - 1))
        q, p = (_softmax(logits[rows])[:, :common] for logits in (draft, target))
        shares.append(np.minimum(p, q).sum(axis=1))
    same = draft[:-1].argmax(axis=1) == target[:-1].argmax(axis=1)
    return np.concatenate(shares) if shares else np.zeros(0), same


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    np.exp(wide, out=wide)
    wide /= wide.sum(axis=1, keepdims=True)
    return wide
