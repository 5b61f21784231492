"""Damage of known size: the reference's own logits, changed until a figure has a chosen value.

Each kind changes chosen rows only and leaves the rest as they are, so that what a figure becomes
can be told beforehand:

    distance   the first choice's logit lowered by s, until KL(p||q) of the row is exactly the one
               asked for. With p the first choice's probability, KL = p s + ln(1 - p + p e^-s),
               which grows with s from zero without bound: s is found by bisection.
    swap       first and second choice exchange their logits: a flip, as hard as the gap is wide
    not finite one logit is NaN
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.float32]
_BISECTIONS: Final = 60
# KL grows by p s at least from where the first choice is gone; p >= 1 / vocabulary.
_MOST_DOUBLINGS: Final = 40


def lowered(logits: Logits, kl: float) -> Logits:
    """`logits` [T, V] with each row's KL from the original as asked, in nats."""
    damaged = logits.copy()
    rows, top = np.arange(len(logits)), logits.argmax(axis=1)
    high = logits[rows, top].astype(np.float64)
    others = logits.astype(np.float64) - high[:, None]
    others[rows, top] = -np.inf
    rest = np.exp(others).sum(axis=1)  # of all other choices, the first choice's weight being 1
    damaged[rows, top] = high - _shift(rest, kl)
    return damaged


def swapped(logits: Logits) -> Logits:
    """`logits` [T, V] with the two first choices of each row exchanged."""
    damaged, rows = logits.copy(), np.arange(len(logits))
    second, first = np.argpartition(logits, -2, axis=1)[:, -2:].T
    damaged[rows, first], damaged[rows, second] = logits[rows, second], logits[rows, first]
    return damaged


def not_finite(logits: Logits) -> Logits:
    """`logits` [T, V] with NaN in each row."""
    damaged = logits.copy()
    damaged[:, 0] = np.nan
    return damaged


def spread(eligible: NDArray[np.intp], document: NDArray[np.int32], count: int) -> NDArray[np.intp]:
    """About `count` of the `eligible` rows, evenly over the documents, one of each at least.

    Even, because a damage that gathers has wider bounds and would need more documents.
    """
    names = np.unique(document[eligible])
    share = count / max(1, len(eligible))
    chosen, owed = [], 0.0
    for name in names:
        here = eligible[document[eligible] == name]
        owed += share * len(here)
        take = min(len(here), max(1, int(owed)))
        owed -= take
        chosen.append(here[np.linspace(0, len(here) - 1, take).round().astype(np.intp)])
    return np.concatenate(chosen) if chosen else eligible


def _shift(rest: NDArray[np.float64], kl: float) -> NDArray[np.float64]:
    """The s of each row that gives `kl`; `rest` is (1 - p) / p."""
    p = 1 / (1 + rest)

    def reached(s: NDArray[np.float64]) -> NDArray[np.float64]:
        return p * s + np.log((rest + np.exp(-s)) / (1 + rest))

    low, high = np.zeros_like(p), np.ones_like(p)
    for _ in range(_MOST_DOUBLINGS):
        high = np.where(reached(high) < kl, 2 * high, high)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        short = reached(middle) < kl
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    return high
