"""Scale searches over one sub-block: which scale, and which levels, reproduce its weights best.

They restate what quantize_row_*_ref of llama.cpp (ggml-quants.c) computes without an importance
matrix, in the same order of operations, because the bytes must be the same. x is float32[n];
levels and trial are int8[n] scratch of the caller's.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepack.quant.kernels.compiler import inner
from edgepack.quant.kernels.plain import extremes, farthest
from edgepack.quant.kernels.scalars import ONE, ZERO, nearest_between

EPSILON = np.float32(1e-15)
"""A sub-block, or a scale, below this magnitude counts as zero."""

_NONE = np.int32(0)
_STEP = np.float32(0.1)


@inner
def fit_affine(
    x: NDArray[np.float32],
    weight: NDArray[np.float32],
    levels: NDArray[np.int8],
    trial: NDArray[np.int8],
    top: np.int32,
    start: np.float32,
    trials: int,
    absolute: bool,
) -> tuple[np.float32, np.float32]:
    """Fit x = scale * level - offset with level in [0, top] and offset >= 0.

    Tries inverse scales (top + start + 0.1 k) / range for k < trials; each trial's levels get
    their least-squares scale and offset; the least weighted error (squared or absolute) wins.
    Returns (scale, offset) and fills levels.
    """
    low, high = extremes(x)
    minimum = ZERO if low > ZERO else low
    if high == minimum:
        levels[:] = 0
        return ZERO, -minimum
    sums = weighted_sums(x, weight)
    steps = np.float32(top)
    inverse = steps / (high - minimum)
    scale = ONE / inverse
    assign(x, minimum, inverse, top, levels)
    least = error(x, weight, levels, scale, minimum, absolute)
    for k in range(trials):
        # The trial inverse uses the range of the best fit so far, not of x: so does the reference.
        inverse = (start + _STEP * np.float32(k) + steps) / (high - minimum)
        assign(x, minimum, inverse, top, trial)
        fitted, new_scale, new_minimum = least_squares(x, weight, trial, sums)
        if fitted:
            new_error = error(x, weight, trial, new_scale, new_minimum, absolute)
            if new_error < least:
                for i in range(x.size):
                    levels[i] = trial[i]
                least, scale, minimum = new_error, new_scale, new_minimum
    return scale, -minimum


@inner
def weighted_sums(
    x: NDArray[np.float32], weight: NDArray[np.float32]
) -> tuple[np.float32, np.float32]:
    """Sums of w and of w * x."""
    sum_w, sum_wx = weight[0], weight[0] * x[0]
    for i in range(1, x.size):
        sum_w += weight[i]
        sum_wx += weight[i] * x[i]
    return sum_w, sum_wx


@inner
def assign(
    x: NDArray[np.float32],
    minimum: np.float32,
    inverse: np.float32,
    top: np.int32,
    levels: NDArray[np.int8],
) -> None:
    """Nearest level in [0, top] of every element."""
    for i in range(x.size):
        levels[i] = nearest_between(inverse * (x[i] - minimum), _NONE, top)


@inner
def error(
    x: NDArray[np.float32],
    weight: NDArray[np.float32],
    levels: NDArray[np.int8],
    scale: np.float32,
    minimum: np.float32,
    absolute: bool,
) -> np.float32:
    """Weighted sum of absolute or squared differences."""
    total = ZERO
    for i in range(x.size):
        difference = scale * np.float32(levels[i]) + minimum - x[i]
        total += weight[i] * (abs(difference) if absolute else difference * difference)
    return total


@inner
def least_squares(
    x: NDArray[np.float32],
    weight: NDArray[np.float32],
    levels: NDArray[np.int8],
    sums: tuple[np.float32, np.float32],
) -> tuple[bool, np.float32, np.float32]:
    """(solvable, scale, minimum <= 0) of the weighted line through (level, x)."""
    sum_w, sum_wx = sums
    sum_l, sum_ll, sum_lx = ZERO, ZERO, ZERO
    for i in range(x.size):
        level = np.float32(levels[i])
        weighted = weight[i] * level
        sum_l += weighted
        sum_ll += weighted * level
        sum_lx += weighted * x[i]
    determinant = sum_w * sum_ll - sum_l * sum_l
    if not determinant > ZERO:
        return False, ZERO, ZERO
    minimum = (sum_ll * sum_wx - sum_l * sum_lx) / determinant
    if minimum > ZERO:
        return True, sum_lx / sum_ll, ZERO
    return True, (sum_w * sum_lx - sum_wx * sum_l) / determinant, minimum


@inner
def fit_symmetric(x: NDArray[np.float32], levels: NDArray[np.int8], half: np.int32) -> np.float32:
    """Fit x = scale * level with level in [-half, half), errors weighted by x squared.

    Tries 19 scales around -half / farthest element. Returns scale; fills levels with level + half.
    """
    far = farthest(x)
    if abs(far) < EPSILON:
        levels[:] = 0
        return ZERO
    steps = np.float32(half)
    inverse = -steps / far
    sum_lx, sum_ll = projections(x, inverse, half)
    assign_symmetric(x, inverse, half, levels)
    scale = sum_lx / sum_ll if sum_ll != ZERO else ZERO
    best = scale * sum_lx
    for k in range(-9, 10):
        if k == 0:
            continue
        inverse = -(steps + _STEP * np.float32(k)) / far
        sum_lx, sum_ll = projections(x, inverse, half)
        if sum_ll > ZERO and sum_lx * sum_lx > best * sum_ll:
            assign_symmetric(x, inverse, half, levels)
            scale = sum_lx / sum_ll
            best = scale * sum_lx
    return scale


@inner
def projections(
    x: NDArray[np.float32], inverse: np.float32, half: np.int32
) -> tuple[np.float32, np.float32]:
    """Sums of w * x * level and of w * level^2, where w = x^2."""
    sum_lx, sum_ll = ZERO, ZERO
    for i in range(x.size):
        level = np.float32(nearest_between(inverse * x[i], np.int32(-half), np.int32(half - 1)))
        weight = x[i] * x[i]
        sum_lx += weight * x[i] * level
        sum_ll += weight * level * level
    return sum_lx, sum_ll


@inner
def assign_symmetric(
    x: NDArray[np.float32], inverse: np.float32, half: np.int32, levels: NDArray[np.int8]
) -> None:
    """Nearest level in [-half, half) of every element, stored plus half."""
    for i in range(x.size):
        levels[i] = half + nearest_between(inverse * x[i], np.int32(-half), np.int32(half - 1))


@inner
def refine_symmetric(
    x: NDArray[np.float32], levels: NDArray[np.int8], half: np.int32
) -> np.float32:
    """Fit x = scale * level with level in [-half, half), errors weighted by x squared.

    Starts from the plain scale, then moves one level at a time while the fit improves, at most
    five rounds. Returns scale; fills levels with level + half.
    """
    far = farthest(x)
    if abs(far) < EPSILON:
        levels[:] = 0
        return ZERO
    inverse = -np.float32(half) / far
    sum_lx, sum_ll = projections(x, inverse, half)
    assign_symmetric(x, inverse, half, levels)
    for _ in range(5):
        changed, sum_lx, sum_ll = improve_levels(x, levels, half, sum_lx, sum_ll)
        if not changed:
            break
    return sum_lx / sum_ll if sum_ll > ZERO else ZERO


@inner
def improve_levels(
    x: NDArray[np.float32],
    levels: NDArray[np.int8],
    half: np.int32,
    sum_lx: np.float32,
    sum_ll: np.float32,
) -> tuple[bool, np.float32, np.float32]:
    """One round: give each element the level that suits the scale the others agree on."""
    changed = False
    for i in range(x.size):
        weight = x[i] * x[i]
        old = np.float32(levels[i] - half)
        others_lx = sum_lx - weight * x[i] * old
        if not others_lx > ZERO:
            continue
        others_ll = sum_ll - weight * old * old
        level = nearest_between(x[i] * others_ll / others_lx, np.int32(-half), np.int32(half - 1))
        new = np.float32(level)
        if new == old:
            continue
        new_lx = others_lx + weight * x[i] * new
        new_ll = others_ll + weight * new * new
        if new_ll > ZERO and new_lx * new_lx * sum_ll > sum_lx * sum_lx * new_ll:
            levels[i] = level + half
            sum_lx, sum_ll, changed = new_lx, new_ll, True
    return changed, sum_lx, sum_ll
