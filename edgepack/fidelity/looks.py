"""Samples that grow until they decide, by a rule fixed before the first look.

The documents are put in an order that the seed draws, so that the first of them are a fair sample
of all. The first look is at 64 documents, each next at twice as many, the last at all. Looking k
times and stopping at the first answer that pleases errs up to k times as often; so every look's
bounds are at 1 - 0.05 / k (Bonferroni over the planned looks, whether or not they take place), and
the verdict of whichever look decides is wrong in 5% of samples at most, as that of one look is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgepack.fidelity.bootstrap import CONFIDENCE

FIRST_DOCUMENTS = 64


@dataclass(frozen=True, slots=True)
class Looks:
    """The plan, and how far it went: `planned` are the documents of each look, `taken` looks were.

    `confidence` is that of every bound.
    """

    planned: tuple[int, ...]
    taken: int
    confidence: float

    def __str__(self) -> str:
        plan = ", ".join(map(str, self.planned))
        return (
            f"looked {self.taken} of at most {len(self.planned)} times, at {plan} documents; every "
            f"bound is at {100 * self.confidence:.4g}%, so that all looks together err in 5%"
        )


def planned_looks(documents: int, first: int = FIRST_DOCUMENTS) -> tuple[int, ...]:
    """Documents at each look: `first`, doubling, then all."""
    looks = []
    size = first
    while size < documents:
        looks.append(size)
        size *= 2
    return (*looks, documents)


def look_confidence(looks: int) -> float:
    """Of each bound, where `looks` of them are planned."""
    return 1 - (1 - CONFIDENCE) / looks


def drawn_order(documents: int, seed: int) -> tuple[int, ...]:
    """Indices of all documents in the order they are looked at."""
    return tuple(map(int, np.random.default_rng(seed).permutation(documents)))
