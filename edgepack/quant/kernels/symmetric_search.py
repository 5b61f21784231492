"""The searches of Q6_K and Q3_K (where weights have importances, of Q4_0 and Q5_0 too).

    weight = scale * level,  -half <= level < half

They restate, sixteen blocks at a time, what make_qx_quants and make_q3_quants of llama.cpp
(ggml-quants.c) compute, in the same order of operations, because the bytes must be the same.
Levels are stored plus half, and are 0 where all weights count as zero.
"""

from __future__ import annotations

import numpy as np

from edgepack.quant.kernels.compiler import inner
from edgepack.quant.kernels.lane_tiles import Tile, farthest, nearest_between
from edgepack.quant.kernels.lanes import (
    LANES,
    Lanes,
    equal,
    get,
    lanes_set,
    magnitude,
    put,
    select,
    splat,
)
from edgepack.quant.kernels.scalars import ONE, ZERO

EPSILON = np.float32(1e-15)
"""A block, or a scale, below this magnitude counts as zero."""

_STEP = np.float32(0.1)


@inner
def square(tile: Tile, weight: Tile) -> None:
    """Each weight counts as its square."""
    for i in range(tile.size // LANES):
        x = get(tile, i)
        put(weight, i, x * x)


@inner
def fit_symmetric(tile: Tile, weight: Tile, levels: Tile, half: np.float32) -> Lanes:
    """Scale of every block, of 19 around -half / farthest element; fills levels."""
    far = farthest(tile)
    inverse = -half / far
    sum_lx, sum_ll = projections(tile, weight, inverse, half)
    scale = select(equal(sum_ll, ZERO), ZERO, sum_lx / sum_ll)
    best, best_inverse = scale * sum_lx, inverse
    for k in range(-9, 10):
        if k == 0:
            continue
        inverse = -(half + _STEP * np.float32(k)) / far
        sum_lx, sum_ll = projections(tile, weight, inverse, half)
        better = (sum_ll > ZERO) & (sum_lx * sum_lx > best * sum_ll)
        scale = select(better, sum_lx / sum_ll, scale)
        best = select(better, scale * sum_lx, best)
        best_inverse = select(better, inverse, best_inverse)
    zero = magnitude(far) < EPSILON
    for i in range(tile.size // LANES):
        level = nearest_between(best_inverse * get(tile, i), -half, half - ONE) + half
        put(levels, i, select(zero, ZERO, level))
    return select(zero, ZERO, scale)


@inner
def projections(tile: Tile, weight: Tile, inverse: Lanes, half: np.float32) -> tuple[Lanes, Lanes]:
    """Sums of w * x * level and of w * level^2."""
    sum_lx, sum_ll = splat(ZERO), splat(ZERO)
    for i in range(tile.size // LANES):
        x, w = get(tile, i), get(weight, i)
        level = nearest_between(inverse * x, -half, half - ONE)
        sum_lx += w * x * level
        sum_ll += w * level * level
    return sum_lx, sum_ll


@inner
def refine_symmetric(tile: Tile, levels: Tile, half: np.float32) -> Lanes:
    """Scale of every block, each weight counting as its square; fills levels.

    Starts from the plain scale, then moves one level at a time while the fit improves, at most
    five rounds.
    """
    far = farthest(tile)
    inverse = -half / far
    sum_lx, sum_ll = splat(ZERO), splat(ZERO)
    for i in range(tile.size // LANES):
        x = get(tile, i)
        level = nearest_between(inverse * x, -half, half - ONE)
        put(levels, i, level)
        sum_lx += x * x * x * level
        sum_ll += x * x * level * level
    for _ in range(5):
        changed, sum_lx, sum_ll = improve(tile, levels, half, sum_lx, sum_ll)
        if not changed:
            break
    zero = magnitude(far) < EPSILON
    for i in range(tile.size // LANES):
        put(levels, i, select(zero, ZERO, get(levels, i) + half))
    return select(~zero & (sum_ll > ZERO), sum_lx / sum_ll, ZERO)


@inner
def improve(
    tile: Tile, levels: Tile, half: np.float32, sum_lx: Lanes, sum_ll: Lanes
) -> tuple[bool, Lanes, Lanes]:
    """One round: give each element the level that suits the scale the others agree on.

    A block that nothing changed in one round will not change in the next: it needs no mask.
    """
    any_changed = sum_lx > sum_lx
    for i in range(tile.size // LANES):
        x, old = get(tile, i), get(levels, i)
        w = x * x
        others_lx, others_ll = sum_lx - w * x * old, sum_ll - w * old * old
        new = nearest_between(x * others_ll / others_lx, -half, half - ONE)
        new_lx, new_ll = others_lx + w * x * new, others_ll + w * new * new
        changed = (others_lx > ZERO) & ~equal(new, old) & (new_ll > ZERO)
        changed = changed & (new_lx * new_lx * sum_ll > sum_lx * sum_lx * new_ll)
        put(levels, i, select(changed, new, old))
        sum_lx = select(changed, new_lx, sum_lx)
        sum_ll = select(changed, new_ll, sum_ll)
        any_changed = any_changed | changed
    return lanes_set(any_changed) != 0, sum_lx, sum_ll
