"""The search of Q2_K, Q4_K and Q5_K (Q4_1 and Q5_1, too, where weights have importances).

    weight = scale * level - offset,  0 <= level <= top, offset >= 0

It restates, sixteen sub-blocks at a time, what make_qkx2_quants and make_qkx3_quants of llama.cpp
(ggml-quants.c) compute, in the same order of operations, because the bytes must be the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepack.quant.kernels.compiler import inner
from edgepack.quant.kernels.lane_tiles import extremes, nearest_between
from edgepack.quant.kernels.lanes import (
    LANES,
    Lanes,
    equal,
    get,
    magnitude,
    put,
    select,
    splat,
)
from edgepack.quant.kernels.scalars import ONE, ZERO

Tile = NDArray[np.float32]
Trials = tuple[np.float32, np.float32, int]
"""Tried are inverse scales (top + first + step * k) / range for k < count: first, step, count."""


@inner
def fit_affine(
    tile: Tile, weight: Tile, levels: Tile, top: np.float32, trials: Trials, absolute: bool
) -> tuple[Lanes, Lanes]:
    """Scale and offset of every sub-block; fills levels.

    Each trial's levels get their least-squares scale and offset; the least weighted error (squared
    or absolute) wins.
    """
    low, high = extremes(tile)
    minimum = select(low > ZERO, ZERO, low)
    flat, flat_offset = equal(high, minimum), -minimum
    sums = weighted_sums(tile, weight)
    inverse = top / (high - minimum)
    scale = ONE / inverse
    project(tile, weight, levels, minimum, inverse, top)
    least = error(tile, weight, levels, scale, minimum, absolute)
    best_inverse, best_minimum = inverse, minimum
    first, step, count = trials
    for k in range(count):
        # The trial inverse uses the range of the best fit so far, not of x: so does the reference.
        inverse = (first + step * np.float32(k) + top) / (high - minimum)
        projections = project(tile, weight, levels, minimum, inverse, top)
        determinant, new_scale, new_minimum = least_squares(sums, projections)
        new_error = error(tile, weight, levels, new_scale, new_minimum, absolute)
        better = (determinant > ZERO) & (new_error < least)
        best_inverse = select(better, inverse, best_inverse)
        best_minimum = select(better, minimum, best_minimum)
        least = select(better, new_error, least)
        scale = select(better, new_scale, scale)
        minimum = select(better, new_minimum, minimum)
    assign(tile, levels, best_minimum, select(flat, ZERO, best_inverse), top)
    return select(flat, ZERO, scale), select(flat, flat_offset, -minimum)


@inner
def weighted_sums(tile: Tile, weight: Tile) -> tuple[Lanes, Lanes]:
    """Sums of w and of w * x."""
    sum_w = get(weight, 0)
    sum_wx = sum_w * get(tile, 0)
    for i in range(1, tile.size // LANES):
        w = get(weight, i)
        sum_w += w
        sum_wx += w * get(tile, i)
    return sum_w, sum_wx


@inner
def assign(tile: Tile, levels: Tile, minimum: Lanes, inverse: Lanes, top: np.float32) -> None:
    """Nearest level in [0, top] of every element."""
    for i in range(tile.size // LANES):
        put(levels, i, nearest_between(inverse * (get(tile, i) - minimum), ZERO, top))


@inner
def project(
    tile: Tile, weight: Tile, levels: Tile, minimum: Lanes, inverse: Lanes, top: np.float32
) -> tuple[Lanes, Lanes, Lanes]:
    """Assign levels; sums of w * level, of w * level^2 and of w * level * x."""
    sum_l, sum_ll, sum_lx = splat(ZERO), splat(ZERO), splat(ZERO)
    for i in range(tile.size // LANES):
        x = get(tile, i)
        level = nearest_between(inverse * (x - minimum), ZERO, top)
        put(levels, i, level)
        weighted = get(weight, i) * level
        sum_l += weighted
        sum_ll += weighted * level
        sum_lx += weighted * x
    return sum_l, sum_ll, sum_lx


@inner
def least_squares(
    sums: tuple[Lanes, Lanes], projections: tuple[Lanes, Lanes, Lanes]
) -> tuple[Lanes, Lanes, Lanes]:
    """Determinant, scale and minimum <= 0 of the line through (level, x).

    Where the determinant is not positive there is no line.
    """
    sum_w, sum_wx = sums
    sum_l, sum_ll, sum_lx = projections
    determinant = sum_w * sum_ll - sum_l * sum_l
    scale = (sum_w * sum_lx - sum_wx * sum_l) / determinant
    minimum = (sum_ll * sum_wx - sum_l * sum_lx) / determinant
    above = minimum > ZERO
    return determinant, select(above, sum_lx / sum_ll, scale), select(above, ZERO, minimum)


@inner
def error(
    tile: Tile, weight: Tile, levels: Tile, scale: Lanes, minimum: Lanes, absolute: bool
) -> Lanes:
    """Weighted sum of absolute or squared differences."""
    total = splat(ZERO)
    for i in range(tile.size // LANES):
        difference = scale * get(levels, i) + minimum - get(tile, i)
        difference = magnitude(difference) if absolute else difference * difference
        total += get(weight, i) * difference
    return total
