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
    """A target's fit beside its draft's; `cost` is the draft's time for a token in the target's.

    Speed-ups are over the target alone, which may have had more of the device to itself.
    """

    target: Fit
    draft: Fit
    cost: float | None
    speedups: tuple[Speedup, ...]

    @property
    def fits(self) -> bool:
        return self.target.fits and self.draft.fits

    @property
    def pays(self) -> bool:
        """Whether it is faster at any acceptance, as far as speeds are known."""
        return not self.speedups or any(each.times > 1 for each in self.speedups)


def pair(alone: Fit, beside: Fit, draft: Fit) -> Pair:
    """The pair of a target and its draft; `alone` is the target where there is no draft.

    Without speeds where one of them is unknown.
    """
    if alone.decode is None or beside.decode is None or draft.decode is None:
        return Pair(beside, draft, None, ())
    cost = beside.decode.high / draft.decode.high
    slowed = beside.decode.high / alone.decode.high
    return Pair(beside, draft, cost, tuple(speedup(share, cost, slowed) for share in ACCEPTANCES))


def speedup(acceptance: float, cost: float, slowed: float = 1.0) -> Speedup:
    """The best draft length, and the factor it gives over a target that is `slowed` by the draft.

    n drafted tokens give (1 - a^(n+1)) / (1 - a) for the time of n drafts and one pass of the
    target (Leviathan et al. 2023, theorem 3.8). That a pass over n + 1 tokens takes as long as over
    one holds where weights are what is waited for, and for a mixture of experts it does not: more
    tokens pass more experts. Drafting nothing is always possible.
    """

    def factor(drafted: int) -> float:
        expected = sum(acceptance**i for i in range(drafted + 1))
        return slowed * expected / (drafted * cost + 1)

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
