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

Arithmetic runs across groups, sixteen in the lanes of a tile: sums of a lane are in order, so the
result is the same on every machine.
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
from edgepack.quant.kernels.group_affine import assign, line, nearest_level
from edgepack.quant.kernels.lane_tiles import Tile, extremes, fill, sum_of_squares
from edgepack.quant.kernels.lanes import (
    LANES,
    Lanes,
    Mask,
    get,
    magnitude,
    put,
    rounded_to_brain,
    select,
    splat,
    square_root,
)
from edgepack.quant.kernels.precision import BF16, F32, rounded
from edgepack.quant.kernels.scalars import ONE, ZERO

_CUTS = (ZERO, np.float32(0.5))  # steps; more starts gain 0.4% of the error, at twice the time
_REFINED = 2  # times from each start
_NEGLIGIBLE = np.float32(1e-30)  # a scale below this has no finite inverse worth dividing by
_LARGE = np.float32(1e30)
_WORST = np.float32(np.inf)

Line = tuple[Lanes, Lanes]  # scale and bias


@inner
def weigh(tile: Tile, count: Tile) -> tuple[Lanes, Lanes]:
    """What every element counts, rms + |x|, into count; sums of count and of count * x."""
    rms = square_root(sum_of_squares(tile) / np.float32(tile.size // LANES))
    count_sum, product_sum = splat(ZERO), splat(ZERO)
    for i in range(tile.size // LANES):
        x = get(tile, i)
        counts = rms + magnitude(x)
        put(count, i, counts)
        count_sum += counts
        product_sum += counts * x
    return count_sum, product_sum


@inner
def stored(x: Lanes, precision: int, scratch: Tile) -> Lanes:
    """x as the type of scales and biases holds it."""
    if precision == F32:
        return x
    if precision == BF16:
        return rounded_to_brain(x)
    put(scratch, 0, x)
    for lane in range(LANES):
        scratch[lane] = rounded(scratch[lane], precision)
    return get(scratch, 0)


@inner
def judge(
    tile: Tile, count: Tile, top: np.float32, trial: Line
) -> tuple[Lanes, tuple[Lanes, Lanes, Lanes]]:
    """Error of the nearest levels of a line; sums of count times level, level^2 and level * x."""
    scale, bias = trial
    inverse = ONE / scale
    error, level_sum, square_sum, product_sum = splat(ZERO), splat(ZERO), splat(ZERO), splat(ZERO)
    for i in range(tile.size // LANES):
        x, counts = get(tile, i), get(count, i)
        level = nearest_level((x - bias) * inverse, top)
        difference = level * scale + bias - x
        error += counts * (difference * difference)
        counted_level = counts * level
        level_sum += counted_level
        square_sum += counted_level * level
        product_sum += counted_level * x
    return error, (level_sum, square_sum, product_sum)


@inner
def error_of(tile: Tile, count: Tile, top: np.float32, trial: Line) -> Lanes:
    """The error alone."""
    scale, bias = trial
    inverse = ONE / scale
    error = splat(ZERO)
    for i in range(tile.size // LANES):
        x = get(tile, i)
        difference = nearest_level((x - bias) * inverse, top) * scale + bias - x
        error += get(count, i) * (difference * difference)
    return error


@inner
def refined(
    trial: Line,
    totals: tuple[Lanes, Lanes],
    sums: tuple[Lanes, Lanes, Lanes],
    precision: int,
    scratch: Tile,
) -> Line:
    """Least-squares lines for the levels that were judged; the bias suits the rounded scale."""
    count, total = totals
    level, square, product = sums
    spread = count * square - level * level
    scale = stored((count * product - level * total) / spread, precision, scratch)
    scale = select((spread > ZERO) & usable(scale), scale, trial[0])
    return scale, stored((total - scale * level) / count, precision, scratch)


@inner
def usable(scale: Lanes) -> Mask:
    return (magnitude(scale) > _NEGLIGIBLE) & (magnitude(scale) < _LARGE)


@inner
def best_line(tile: Tile, count: Tile, top: np.float32, precision: int, scratch: Tile) -> Line:
    """Of all lines tried, that of the least error in every lane."""
    low, high = extremes(tile)
    totals = weigh(tile, count)
    scale, bias = line(low, high, top)
    scale, bias = stored(scale, precision, scratch), stored(bias, precision, scratch)
    trial = (scale, bias)
    error = error_of(tile, count, top, trial)
    least = select(error < _WORST, error, _WORST)
    step = (high - low) / top
    for cut_low in _CUTS:
        for cut_high in _CUTS:
            # where the scale is not usable the group is constant, and the line it has is exact
            cut = stored(step - step * (cut_low + cut_high) / top, precision, scratch)
            start = stored(low + cut_low * step, precision, scratch)
            trial = (select(usable(cut), cut, trial[0]), select(usable(cut), start, trial[1]))
            for _ in range(_REFINED):
                error, sums = judge(tile, count, top, trial)
                better = error < least
                scale, bias = select(better, trial[0], scale), select(better, trial[1], bias)
                least = select(better, error, least)
                trial = refined(trial, totals, sums, precision, scratch)
            error = error_of(tile, count, top, trial)
            better = error < least
            scale, bias = select(better, trial[0], scale), select(better, trial[1], bias)
            least = select(better, error, least)
    return scale, bias


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
    top = np.float32((1 << bits) - 1)
    tile, counts = np.empty(LANES * size, np.float32), np.empty(LANES * size, np.float32)
    found, scratch = np.empty(2 * LANES, np.float32), np.empty(LANES, np.float32)
    for first in range(0, count, LANES):
        fill(groups, first, tile)
        scale, bias = best_line(tile, counts, top, precision, scratch)
        put(found, 0, scale)
        put(found, 1, bias)
        for g in range(first, min(first + LANES, count)):
            scales[g], biases[g] = found[g - first], found[LANES + g - first]
            assign(groups[g], scales[g], biases[g], top, levels[g])
