"""A search for the scale and bias of every group, judged with both rounded as they are stored.

From nine starts (the range of the group, cut by nothing, half a step or a whole step at either
end) it alternates: nearest levels for the line, then the least-squares line through those levels.
The line of `group_affine.plain` is a candidate too, so that no group comes out worse.

Every weight counts alike. Counting large ones more, as llama.cpp does, or columns by the norm in
front of them, was measured further from the reference on fixtures/reasoner, at 2, 3 and 4 bits.

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
_CUTS = (ZERO, np.float32(0.5), ONE)  # steps
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
    tile: NDArray[np.float32], span: NDArray[np.float32], total: NDArray[np.float32]
) -> None:
    """Into span the least and the greatest weight of every lane, into total its sum."""
    low, high = span[0], span[1]
    for lane in range(total.size):
        low[lane] = high[lane] = total[lane] = tile[0, lane]
    for i in range(1, tile.shape[0]):
        x = tile[i]
        for lane in range(total.size):
            low[lane] = min(low[lane], x[lane])
            high[lane] = max(high[lane], x[lane])
            total[lane] += x[lane]


@inner
def begin_plain(
    span: NDArray[np.float32], top: np.float32, precision: int, trial: NDArray[np.float32]
) -> None:
    """The lines that plain rounding takes."""
    for lane in range(span.shape[1]):
        scale, bias = line(span[0, lane], span[1, lane], top)
        trial[0, lane] = rounded(scale, precision)
        trial[1, lane] = rounded(bias, precision)


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
    top: np.float32,
    trial: NDArray[np.float32],
    sums: NDArray[np.float32],
    best: NDArray[np.float32],
) -> None:
    """Sums for the nearest levels of the trial lines; a line of less error becomes the best.

    trial holds scales and biases, sums the squared error, sums of level, level^2 and level * x,
    scratch, and the sum of x; best scales, biases and errors; a column for every lane.
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
            error[lane] += difference * difference
            level_sum[lane] += level
            square_sum[lane] += level * level
            product_sum[lane] += level * x[lane]
    for lane in range(scale.size):
        if error[lane] < best[2, lane]:
            best[0, lane], best[1, lane], best[2, lane] = scale[lane], bias[lane], error[lane]


@inner
def refine(
    sums: NDArray[np.float32], size: int, precision: int, trial: NDArray[np.float32]
) -> None:
    """Least-squares lines for the levels that were judged; the bias suits the rounded scale."""
    count = np.float32(size)
    for lane in range(trial.shape[1]):
        level, square, product, total = sums[1, lane], sums[2, lane], sums[3, lane], sums[5, lane]
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
    best, sums = np.empty((3, lanes), np.float32), np.empty((6, lanes), np.float32)
    for first in range(0, count, lanes):
        load(groups, first, tile)
        survey(tile, span, sums[5])
        begin_plain(span, top, precision, trial)
        best[2, :] = _WORST
        judge(tile, top, trial, sums, best)
        for cut_low in _CUTS:
            for cut_high in _CUTS:
                begin_cut(span, top, precision, (cut_low, cut_high), trial)
                for _ in range(_ROUNDS):
                    judge(tile, top, trial, sums, best)
                    refine(sums, size, precision, trial)
        for g in range(first, min(first + lanes, count)):
            scales[g], biases[g] = best[0, g - first], best[1, g - first]
            assign(groups[g], scales[g], biases[g], top, levels[g])
