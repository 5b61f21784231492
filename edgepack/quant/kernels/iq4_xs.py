"""IQ4_XS: 256 weights as 4-bit levels that name unevenly spaced values, in 8 sub-blocks with
signed 6-bit scales.

Layout: d[2] high_scales[2] low_scales[4] nibbles[128]; weight = d * (scale - 32) * VALUES[level].
Scale s keeps its low four bits in the lower (even s) or upper half of byte s / 2 of low_scales, its
high two bits in bits 2 s and 2 s + 1 of high_scales.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepack.quant.kernels.compiler import decoder, encoder, inner
from edgepack.quant.kernels.importance import weigh
from edgepack.quant.kernels.lane_tiles import farthest, fill, sum_of_squares
from edgepack.quant.kernels.lanes import LANES, put
from edgepack.quant.kernels.nonlinear import VALUES, fit_nonlinear, put_levels
from edgepack.quant.kernels.scalars import get_half, nearest_between, put_half, reciprocal
from edgepack.quant.kernels.symmetric_search import square

_SPREAD, _HALF = np.float32(2 / 256), np.float32(32)
_LEAST, _MOST = np.int32(-32), np.int32(31)
_SUB = 32 * LANES


@inner
def put_scale(block: NDArray[np.uint8], s: int, scale: int) -> None:
    """Write a scale, 0 to 63, into cleared bytes."""
    block[2 + s // 4] |= (scale >> 4) << (2 * (s & 3))
    block[4 + s // 2] |= (scale & 15) << (4 * (s & 1))


@inner
def get_scale(block: NDArray[np.uint8], s: int) -> int:
    """Scale s, 0 to 63."""
    high = (block[2 + s // 4] >> (2 * (s & 3))) & 3
    return int((high << 4) | ((block[4 + s // 2] >> (4 * (s & 1))) & 15))


@encoder
def encode(
    blocks: NDArray[np.float32], importance: NDArray[np.float32], out: NDArray[np.uint8]
) -> None:
    """blocks float32[n, 256] -> out uint8[n, 136]."""
    tile, weight = np.empty(8 * _SUB, np.float32), np.empty(8 * _SUB, np.float32)
    scales, sums = np.empty(8 * LANES, np.float32), np.empty(8 * LANES, np.float32)
    units = np.empty(LANES, np.float32)
    for first in range(0, blocks.shape[0], LANES):
        fill(blocks, first, tile)
        if importance.shape[0]:
            fill(importance, first, weight)
            weigh(tile, weight, _SPREAD * sum_of_squares(tile), sums)
        else:
            square(tile, weight)
        for s in range(8):
            part = slice(_SUB * s, _SUB * s + _SUB)
            put(scales, s, fit_nonlinear(tile[part], weight[part]))
        put(units, 0, -farthest(scales) / _HALF)
        for lane in range(min(LANES, blocks.shape[0] - first)):
            block, unit = out[first + lane], units[lane]
            inverse = reciprocal(unit)
            put_half(block, 0, unit)
            block[2:8] = 0
            for s in range(8):
                scale = nearest_between(inverse * scales[LANES * s + lane], _LEAST, _MOST)
                put_scale(block, s, int(scale + 32))
                # the unit as it was before it was stored: so does the reference
                stored = reciprocal(unit * np.float32(scale))
                put_levels(blocks[first + lane], s, stored, block[8:136])


@decoder
def decode(blocks: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
    """blocks uint8[n, 136] -> out float32[n, 256]."""
    for b in range(blocks.shape[0]):
        y, x = blocks[b], out[b]
        for s in range(8):
            scale = get_half(y, 0) * np.float32(np.int32(get_scale(y, s) - 32))
            for i in range(16):
                byte = y[8 + 16 * s + i]
                x[32 * s + i] = scale * VALUES[byte & 15]
                x[32 * s + 16 + i] = scale * VALUES[byte >> 4]
