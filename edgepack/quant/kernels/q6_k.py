"""Q6_K: 256 weights as signed 6-bit levels in 16 sub-blocks with signed 8-bit scales.

Layout: low_bits[128] high_bits[64] scales[16] d[2]; weight = d * scale * (level - 32). Within each
half of 128 weights, byte i of 64 low_bits holds the low four bits of levels i and i + 64.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepack.quant.kernels.compiler import decoder, encoder, inner
from edgepack.quant.kernels.crumbs import get_crumb, put_crumbs
from edgepack.quant.kernels.lane_tiles import Tile, column, farthest, fill, nearest_between
from edgepack.quant.kernels.lanes import LANES, Lanes, floor, get, nearest, put, put_bytes, select
from edgepack.quant.kernels.scalars import ONE, ZERO, get_half, put_half
from edgepack.quant.kernels.symmetric_search import EPSILON, fit_symmetric, square

_HALF = np.float32(32)
_LAST, _MOST = np.float32(128), np.float32(127)
_SIXTEEN = np.float32(16)
_SUB = 16 * LANES


@inner
def share(scales: Tile) -> Lanes:
    """Replace scales by 8-bit multiples of a unit, which is returned."""
    inverse = -_LAST / farthest(scales)
    for s in range(16):
        multiple = nearest(inverse * get(scales, s))
        put(scales, s, select(multiple > _MOST, _MOST, multiple))
    return ONE / inverse


@inner
def stored_levels(
    x: NDArray[np.float32], levels: Tile, lane: int, scale: np.float32, s: int
) -> Lanes:
    """Nearest levels of a sub-block for its scale as stored; those of the search if that is 0."""
    if scale == ZERO:
        return column(levels, lane, s)
    return nearest_between(get(x, s) / scale, -_HALF, _HALF - ONE) + _HALF


@inner
def put_levels(
    x: NDArray[np.float32], levels: Tile, lane: int, unit: np.float32,
    pieces: tuple[NDArray[np.float32], NDArray[np.float32]], block: NDArray[np.uint8],
) -> None:  # fmt: skip
    """Write the levels of x float32[256]; the pieces are float32[256] scratch."""
    low, high = pieces
    for s in range(16):
        scale = unit * np.float32(np.int8(block[192 + s]))
        level = stored_levels(x, levels, lane, scale, s)
        above = floor(level / _SIXTEEN)
        put(high, s, above)
        put(low, s, level - _SIXTEEN * above)
    for half in range(2):
        for i in range(4):
            k = 8 * half + i
            put_bytes(block[:128], 4 * half + i, get(low, k) + _SIXTEEN * get(low, k + 4))
    put_crumbs(high, block[128:192])


@encoder
def encode(
    blocks: NDArray[np.float32], importance: NDArray[np.float32], out: NDArray[np.uint8]
) -> None:
    """blocks float32[n, 256] -> out uint8[n, 210]."""
    tile, levels = np.empty(16 * _SUB, np.float32), np.empty(16 * _SUB, np.float32)
    weight, scales = np.empty(16 * _SUB, np.float32), np.empty(16 * LANES, np.float32)
    units, fars = np.empty(LANES, np.float32), np.empty(LANES, np.float32)
    pieces = (np.empty(256, np.float32), np.empty(256, np.float32))
    for first in range(0, blocks.shape[0], LANES):
        fill(blocks, first, tile)
        if importance.shape[0]:  # here they count as they are
            fill(importance, first, weight)
        else:
            square(tile, weight)
        for s in range(16):
            part = slice(_SUB * s, _SUB * s + _SUB)
            put(scales, s, fit_symmetric(tile[part], weight[part], levels[part], _HALF))
        put(fars, 0, farthest(scales))
        put(units, 0, share(scales))
        for lane in range(min(LANES, blocks.shape[0] - first)):
            block = out[first + lane]
            if abs(fars[lane]) < EPSILON:
                block[:] = 0
                continue
            unit = put_half(block, 208, units[lane])
            for s in range(16):
                block[192 + s] = np.uint8(np.int32(scales[LANES * s + lane]))
            put_levels(blocks[first + lane], levels, lane, unit, pieces, block)


@decoder
def decode(blocks: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
    """blocks uint8[n, 210] -> out float32[n, 256]."""
    for b in range(blocks.shape[0]):
        y, x = blocks[b], out[b]
        for s in range(16):
            scale = get_half(y, 208) * np.float32(np.int8(y[192 + s]))
            for i in range(16 * s, 16 * s + 16):
                half, quarter = i >> 7, (i >> 5) & 3
                byte = y[64 * half + 32 * (quarter & 1) + (i & 31)]
                low = (byte >> (4 * (quarter >> 1))) & 15
                level = np.int32(low | (get_crumb(y[128:192], i) << 4)) - 32
                x[i] = scale * np.float32(np.int32(level))
