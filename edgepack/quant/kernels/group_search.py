"""A search for the scale and bias of every group, judged with both rounded as they are stored.

From four starts (the range of the group, cut by nothing or by half a step at either end) it
alternates: nearest levels for the line, then the least-squares line through those levels.
The line of `group_affine.plain` is a candidate too, so that no group comes out worse.

The squared error of a weight x counts rms + |x|, rms being its group's; so it does in llama.cpp's
K-quants, and it did no worse here than counting all alike. As a part of plain rounding's on
fixtures/reasoner, in groups of 64; mean KLD is a geometric mean over eight random orders of the
columns, which change what falls into a group and nothing else: one order says little.

    bits             4             3
    squared error 0.81          0.76
    mean KLD      0.81          0.63
      of an order 0.40 to 1.62  0.31 to 1.50

Arithmetic runs across the groups of a tile, a lane for each: sums of a lane are in order, so the
result is the same on every machine, and the loops over lanes vectorise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepack.quant.kernels.compiler import (
    BYTES,
    FLOAT_ROW,
    INTEGER,
    READ_FLOATS,
    inner,
    kernel,
)
from edgepack.quant.kernels.group_affine import assign, line
from edgepack.quant.kernels.precision import rounded
from edgepack.quant.kernels.scalars import ONE, ZERO

TILE = 4096  # weights; 16 KiB lie in the first cache with room to spare
_CUTS = (ZERO, np.float32(0.5))  # steps; more starts gain 0.4% of the error, at twice the time
_ROUNDS = 3
_ROUNDER = np.float32(3 << 22)
_NEGLIGIBLE = np.float32(1e-30)  # a scale below this has no finite inverse worth dividing by
_LARGE = np.float32(1e30)
_WORST = np.float32(np.inf)


@inner
def load(groups: NDArray[np.float32], first: int, tile: NDArray[np.float32]) -> None:
    """Groups first, first + 1, ... as the columns of tile[size, lanes]; the last one repeated."""
    for lane in range(tile.shape[1]):
        group = groups[min(first + lane, groups.shape[0] - 1)]
        for i in range(group.size):
            tile[i, lane] = group[i]


@inner
def survey(
    tile: NDArray[np.float32], span: NDArray[np.float32], totals: NDArray[np.float32]
) -> None:
    """Into span the extremes of every lane; into totals its rms, and sums of counts and count * x.

    An element counts rms + |x|.
    """
    low, high = span[0], span[1]
    rms, count_sum, product_sum = totals[0], totals[1], totals[2]
    for lane in range(rms.size):
        low[lane] = high[lane] = tile[0, lane]
        rms[lane] = count_sum[lane] = product_sum[lane] = ZERO
    for i in range(tile.shape[0]):
        x = tile[i]
        for lane in range(rms.size):
            low[lane] = min(low[lane], x[lane])
            high[lane] = max(high[lane], x[lane])
            rms[lane] += x[lane] * x[lane]
    for lane in range(rms.size):
        rms[lane] = np.sqrt(rms[lane] / np.float32(tile.shape[0]))
    for i in range(tile.shape[0]):
        x = tile[i]
        for lane in range(rms.size):
            count = rms[lane] + abs(x[lane])
            count_sum[lane] += count
            product_sum[lane] += count * x[lane]


@inner
def begin_plain(
    span: NDArray[np.float32],
    top: np.float32,
    precision: int,
    best: NDArray[np.float32],
    trial: NDArray[np.float32],
) -> None:
    """The lines that plain rounding takes: the best so far, even where their error overflows."""
    for lane in range(span.shape[1]):
        scale, bias = line(span[0, lane], span[1, lane], top)
        best[0, lane] = trial[0, lane] = rounded(scale, precision)
        best[1, lane] = trial[1, lane] = rounded(bias, precision)
        best[2, lane] = _WORST


@inner
def begin_cut(
    span: NDArray[np.float32],
    top: np.float32,
    precision: int,
    cuts: tuple[np.float32, np.float32],
    trial: NDArray[np.float32],
) -> None:
    """Lines over the range less `cuts` steps of it at its lower and upper end."""
    for lane in range(span.shape[1]):
        low, high = span[0, lane], span[1, lane]
        step = (high - low) / top
        scale = rounded(step - step * (cuts[0] + cuts[1]) / top, precision)
        if usable(scale):  # else the group is constant, and the line it has is exact
            trial[0, lane] = scale
            trial[1, lane] = rounded(low + cuts[0] * step, precision)


@inner
def judge(
    tile: NDArray[np.float32],
    rms: NDArray[np.float32],
    top: np.float32,
    trial: NDArray[np.float32],
    sums: NDArray[np.float32],
    best: NDArray[np.float32],
) -> None:
    """Sums for the nearest levels of the trial lines; a line of less error becomes the best.

    A column for every lane: trial holds scales and biases, best those and their errors, sums the
    error, then what weights count, times level, level^2 and level * x, then scratch.
    """
    scale, bias = trial[0], trial[1]
    error, level_sum, square_sum, product_sum, inverse = sums[0], sums[1], sums[2], sums[3], sums[4]
    for lane in range(scale.size):
        error[lane] = level_sum[lane] = square_sum[lane] = product_sum[lane] = ZERO
        inverse[lane] = ONE / scale[lane]
    for i in range(tile.shape[0]):
        x = tile[i]
        for lane in range(scale.size):
            level = min(max((x[lane] - bias[lane]) * inverse[lane], ZERO), top)
            level = (level + _ROUNDER) - _ROUNDER
            difference = level * scale[lane] + bias[lane] - x[lane]
            count = rms[lane] + abs(x[lane])
            error[lane] += count * (difference * difference)
            counted = count * level
            level_sum[lane] += counted
            square_sum[lane] += counted * level
            product_sum[lane] += counted * x[lane]
    for lane in range(scale.size):
        if error[lane] < best[2, lane]:
            best[0, lane], best[1, lane], best[2, lane] = scale[lane], bias[lane], error[lane]


@inner
def refine(
    sums: NDArray[np.float32],
    totals: NDArray[np.float32],
    precision: int,
    trial: NDArray[np.float32],
) -> None:
    """Least-squares lines for the levels that were judged; the bias suits the rounded scale."""
    for lane in range(trial.shape[1]):
        level, square, product = sums[1, lane], sums[2, lane], sums[3, lane]
        count, total = totals[1, lane], totals[2, lane]
        spread = count * square - level * level
        scale = rounded((count * product - level * total) / spread, precision)
        scale = scale if spread > ZERO and usable(scale) else trial[0, lane]
        trial[0, lane] = scale
        trial[1, lane] = rounded((total - scale * level) / count, precision)


@inner
def usable(scale: np.float32) -> np.bool:
    return _NEGLIGIBLE < abs(scale) < _LARGE


@kernel(READ_FLOATS, INTEGER, INTEGER, FLOAT_ROW, FLOAT_ROW, BYTES)
def search(
    groups: NDArray[np.float32],
    bits: int,
    precision: int,
    scales: NDArray[np.float32],
    biases: NDArray[np.float32],
    levels: NDArray[np.uint8],
) -> None:
    """groups float32[n, size] -> scales, biases float32[n] rounded to `precision`, levels uint8."""
    count, size = groups.shape
    lanes = TILE // size
    top = np.float32((1 << bits) - 1)
    tile = np.empty((size, lanes), np.float32)
    span, trial = np.empty((2, lanes), np.float32), np.empty((2, lanes), np.float32)
    totals, best = np.empty((3, lanes), np.float32), np.empty((3, lanes), np.float32)
    sums = np.empty((5, lanes), np.float32)
    for first in range(0, count, lanes):
        load(groups, first, tile)
        survey(tile, span, totals)
        begin_plain(span, top, precision, best, trial)
        judge(tile, totals[0], top, trial, sums, best)
        for cut_low in _CUTS:
            for cut_high in _CUTS:
                begin_cut(span, top, precision, (cut_low, cut_high), trial)
                for _ in range(_ROUNDS):
                    judge(tile, totals[0], top, trial, sums, best)
                    refine(sums, totals, precision, trial)
        for g in range(first, min(first + lanes, count)):
            scales[g], biases[g] = best[0, g - first], best[1, g - first]
            assign(groups[g], scales[g], biases[g], top, levels[g])
