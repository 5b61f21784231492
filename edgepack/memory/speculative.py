"""A small model that drafts for a large one: both in memory, and how much faster that may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edgepack.memory.fit import Fit
from edgepack.models.decoder import Decoder

ACCEPTANCES: Final = (0.5, 0.6, 0.7, 0.8, 0.9)
"""Shares of drafted tokens that the target takes; `validate` measures a pair's own."""

LONGEST_DRAFT: Final = 16
VOCABULARY_DIFFERENCE: Final = 128
"""Tokens by which llama.cpp lets two vocabularies differ in size (SPEC_VOCAB_MAX_SIZE_DIFFERENCE);
the tokens that both have must be the same, which their shapes do not tell."""


@dataclass(frozen=True, slots=True)
class Speedup:
    """At an `acceptance`: the best number of tokens to draft, and how many times as fast it is."""

    acceptance: float
    drafted: int
    times: float


@dataclass(frozen=True, slots=True)
class Pair:
    """A target's fit beside its draft's; `cost` is the draft's time for a token in the target's."""

    target: Fit
    draft: Fit
    cost: float | None
    speedups: tuple[Speedup, ...]

    @property
    def fits(self) -> bool:
        return self.target.fits and self.draft.fits


def pair(target: Fit, draft: Fit) -> Pair:
    """The pair of two fits that share a device; without speeds where one of them is unknown."""
    if target.decode is None or draft.decode is None:
        return Pair(target, draft, None, ())
    cost = target.decode.high / draft.decode.high
    return Pair(target, draft, cost, tuple(speedup(share, cost) for share in ACCEPTANCES))


def speedup(acceptance: float, cost: float) -> Speedup:
    """The best draft length, and the factor it gives.

    n drafted tokens give (1 - a^(n+1)) / (1 - a) for the time of n drafts and one pass of the
    target (Leviathan et al. 2023, theorem 3.8); that a pass over n + 1 tokens takes as long as
    over one holds where weights are what is waited for. Drafting nothing is always possible.
    """

    def factor(drafted: int) -> float:
        expected = sum(acceptance**i for i in range(drafted + 1))
        return expected / (drafted * cost + 1)

    best = max(range(LONGEST_DRAFT + 1), key=factor)
    return Speedup(acceptance, best, factor(best))


def vocabularies_differ(target: Decoder, draft: Decoder) -> str | None:
    """Why llama.cpp would refuse the pair by its sizes, None where it would not."""
    difference = abs(target.vocabulary - draft.vocabulary)
    if difference <= VOCABULARY_DIFFERENCE:
        return None
    return (
        f"vocabularies of {target.vocabulary} and {draft.vocabulary} tokens differ by more than "
        f"{VOCABULARY_DIFFERENCE}"
    )
