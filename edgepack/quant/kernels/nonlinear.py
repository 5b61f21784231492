"""What IQ4_NL and IQ4_XS share: sixteen values, unevenly spaced, of which a level names one.

    weight = scale * VALUES[level]

The search restates, sixteen sub-blocks at a time, what quantize_row_iq4_nl_impl of llama.cpp
(ggml-quants.c) computes, in the same order of operations, because the bytes must be the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepack.quant.kernels.compiler import inner
from edgepack.quant.kernels.lane_tiles import Tile, farthest
from edgepack.quant.kernels.lanes import LANES, Lanes, get, magnitude, put_bytes, select, splat
from edgepack.quant.kernels.scalars import ONE, ZERO
from edgepack.quant.kernels.symmetric_search import EPSILON

VALUES = np.array(
    (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113), np.float32
)
"""A published constant of the format."""

_MIDDLES = (VALUES[1:] + VALUES[:-1]) / 2
_GAPS = VALUES[1:] - VALUES[:-1]
_LOWEST = np.float32(VALUES[0])
_REACH = 7
_SIXTEEN = np.float32(16)


@inner
def nearest_value(x: Lanes) -> Lanes:
    """The nearest of VALUES; halfway between two, the greater, and of NaN the greatest."""
    value = splat(_LOWEST)
    for k in range(15):
        value += select(x < _MIDDLES[k], ZERO, _GAPS[k])
    return value


@inner
def nearest_level(x: Lanes) -> Lanes:
    """The level of `nearest_value(x)`."""
    level = splat(ZERO)
    for k in range(15):
        level += select(x < _MIDDLES[k], ZERO, ONE)
    return level


@inner
def fit_nonlinear(tile: Tile, weight: Tile) -> Lanes:
    """Scale of every sub-block, of 15 around lowest value / farthest element."""
    far = farthest(tile)
    sum_qx, sum_qq = projections(tile, weight, ONE / (-far / _LOWEST))
    scale = select(sum_qq > ZERO, sum_qx / sum_qq, ZERO)
    best = scale * sum_qx
    for k in range(-_REACH, _REACH + 1):
        sum_qx, sum_qq = projections(tile, weight, (np.float32(k) + _LOWEST) / far)
        better = (sum_qq > ZERO) & (sum_qx * sum_qx > best * sum_qq)
        scale = select(better, sum_qx / sum_qq, scale)
        best = select(better, scale * sum_qx, best)
    return select(magnitude(far) < EPSILON, ZERO, scale)


@inner
def projections(tile: Tile, weight: Tile, inverse: Lanes) -> tuple[Lanes, Lanes]:
    """Sums of w * value * x and of w * value^2."""
    sum_qx, sum_qq = splat(ZERO), splat(ZERO)
    for i in range(tile.size // LANES):
        x = get(tile, i)
        value = nearest_value(inverse * x)
        weighted = get(weight, i) * value
        sum_qx += weighted * x
        sum_qq += weighted * value
    return sum_qx, sum_qq


@inner
def put_levels(x: NDArray[np.float32], s: int, inverse: np.float32, out: NDArray[np.uint8]) -> None:
    """Levels of weights 32 s to 32 s + 31 into out[16 s : 16 s + 16]."""
    low = nearest_level(inverse * get(x, 2 * s))
    high = nearest_level(inverse * get(x, 2 * s + 1))
    put_bytes(out, s, low + _SIXTEEN * high)
