"""The search for a unit and its shares where sub-blocks have importances.

    value = unit * share,  share <= last, for values that are not negative

It restates, sixteen super-blocks at a time, what make_qp_quants of llama.cpp (ggml-quants.c)
computes, in the same order of operations, because the bytes must be the same.
"""

from __future__ import annotations

import numpy as np

from edgepack.quant.kernels.compiler import inner
from edgepack.quant.kernels.lane_tiles import Tile, byte, peak
from edgepack.quant.kernels.lanes import (
    LANES,
    Lanes,
    equal,
    get,
    lanes_set,
    nearest,
    put,
    select,
    splat,
)
from edgepack.quant.kernels.scalars import ONE, ZERO
from edgepack.quant.kernels.shares import plain_shares
from edgepack.quant.kernels.symmetric_search import EPSILON

_STEP = np.float32(0.1)


@inner
def share(
    scales: Tile, offsets: Tile, last: np.float32, weighted: bool, sums: Tile, units: Tile
) -> None:
    """Replace scales and offsets by their shares; fills units, vector 0 and vector 1."""
    for k, values in enumerate((scales, offsets)):
        unit = fit_shares(values, sums, last) if weighted else plain_shares(values, last)
        put(units, k, unit)


@inner
def fit_shares(values: Tile, weight: Tile, last: np.float32) -> Lanes:
    """The unit of every super-block, of nine around peak / last; shares replace values."""
    far, shares = peak(values), np.empty(values.size, np.float32)
    best_inverse = last / far
    # the plain trial has no upper bound, and its shares are bytes: so has the reference
    least = error(values, weight, best_inverse, np.float32(np.inf))
    for k in range(-4, 5):
        if k == 0:
            continue
        inverse = (_STEP * np.float32(k) + last) / far
        new_error = error(values, weight, inverse, last)
        better = new_error < least
        least = select(better, new_error, least)
        best_inverse = select(better, inverse, best_inverse)
    sum_lx, sum_ll = splat(ZERO), splat(ZERO)
    for i in range(values.size // LANES):
        x, w = get(values, i), get(weight, i)
        share = at_most(nearest(best_inverse * x), last)
        put(shares, i, byte(share))
        sum_lx += w * x * share
        sum_ll += w * share * share
    for _ in range(5):
        changed, sum_lx, sum_ll = improve(values, weight, shares, last, sum_lx, sum_ll)
        if not changed:
            break
    zero = far < EPSILON
    for i in range(values.size // LANES):
        put(values, i, select(zero, ZERO, get(shares, i)))
    return select(~zero & (sum_ll > ZERO), sum_lx / sum_ll, ZERO)


@inner
def at_most(share: Lanes, last: np.float32) -> Lanes:
    """The lesser of the two."""
    return select(share < last, share, last)


@inner
def error(values: Tile, weight: Tile, inverse: Lanes, last: np.float32) -> Lanes:
    """Weighted sum of squared differences."""
    unit, total = ONE / inverse, splat(ZERO)
    for i in range(values.size // LANES):
        x = get(values, i)
        share = nearest(inverse * x)
        share = byte(share) if last == np.inf else at_most(share, last)
        difference = x - unit * share
        total += get(weight, i) * difference * difference
    return total


@inner
def improve(
    values: Tile, weight: Tile, shares: Tile, last: np.float32, sum_lx: Lanes, sum_ll: Lanes
) -> tuple[bool, Lanes, Lanes]:
    """One round: give each value the share that suits the unit the others agree on.

    A super-block that nothing changed in one round will not change in the next.
    """
    any_changed = sum_lx > sum_lx
    for i in range(values.size // LANES):
        x, w, old = get(values, i), get(weight, i), get(shares, i)
        others_lx, others_ll = sum_lx - w * x * old, sum_ll - w * old * old
        new = at_most(nearest(x * others_ll / others_lx), last)
        new_lx, new_ll = others_lx + w * x * new, others_ll + w * new * new
        changed = (others_lx > ZERO) & (others_ll > ZERO) & ~equal(new, old)
        changed = changed & (new_lx * new_lx * sum_ll > sum_lx * sum_lx * new_ll)
        put(shares, i, select(changed, byte(new), old))
        sum_lx = select(changed, new_lx, sum_lx)
        sum_ll = select(changed, new_ll, sum_ll)
        any_changed = any_changed | changed
    return lanes_set(any_changed) != 0, sum_lx, sum_ll
