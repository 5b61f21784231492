"""Q3_K: 256 weights as signed 3-bit levels in 16 sub-blocks with signed 6-bit scales.

Layout: high_bits[32] low_bits[64] scales[12] d[2]; weight = d * (scale - 32) * (level - 4). Byte i
of high_bits holds bit 2 of levels i, i + 32, ..., i + 224. Scales 0 to 7 keep their low four bits
in the lower, 8 to 15 in the upper halves of bytes 0 to 7; byte 8 + s % 4 has their high two bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepack.quant.kernels.compiler import decoder, encoder, inner
from edgepack.quant.kernels.crumbs import get_crumb, put_crumbs
from edgepack.quant.kernels.importance import variance, weigh
from edgepack.quant.kernels.lane_tiles import Tile, column, fill, nearest_between
from edgepack.quant.kernels.lanes import LANES, Lanes, get, put, put_bytes, select, splat
from edgepack.quant.kernels.scalars import ONE, ZERO, get_half, put_half
from edgepack.quant.kernels.shares import plain_signed_shares
from edgepack.quant.kernels.symmetric_search import fit_symmetric, refine_symmetric

_HALF, _SCALE_HALF = np.float32(4), np.float32(32)
_TWO, _THREE = np.float32(2), np.float32(3)
_SUB = 16 * LANES


@inner
def put_scales(shares: Tile, lane: int, packed: NDArray[np.uint8]) -> None:
    """Write the six-bit numbers of one block into packed[12]."""
    packed[:] = 0
    for s in range(16):
        scale = int(shares[LANES * s + lane])
        packed[s & 7] |= (scale & 15) << (4 * (s >> 3))
        packed[8 + (s & 3)] |= (scale >> 4) << (2 * (s >> 2))


@inner
def get_scale(block: NDArray[np.uint8], s: int) -> np.float32:
    """d * scale of sub-block s."""
    packed = block[96:108]
    low = (packed[s & 7] >> (4 * (s >> 3))) & 15
    high = (packed[8 + (s & 3)] >> (2 * (s >> 2))) & 3
    return get_half(block, 108) * np.float32(np.int32((low | (high << 4)) - 32))


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
    x: NDArray[np.float32], levels: Tile, shares: Tile, lane: int, unit: np.float32,
    low: NDArray[np.float32], block: NDArray[np.uint8],
) -> None:  # fmt: skip
    """Write the levels of x float32[256]; low is float32[256] scratch."""
    for i in range(2):
        high_bits, bit = splat(ZERO), ONE
        for s in range(i, 16, 2):
            scale = unit * (shares[LANES * s + lane] - _SCALE_HALF)
            level = stored_levels(x, levels, lane, scale, s)
            above = select(level > _THREE, ONE, ZERO)
            put(low, s, level - _HALF * above)
            high_bits += bit * above
            bit *= _TWO
        put_bytes(block[:32], i, high_bits)
    put_crumbs(low, block[32:96])


@encoder
def encode(
    blocks: NDArray[np.float32], importance: NDArray[np.float32], out: NDArray[np.uint8]
) -> None:
    """blocks float32[n, 256] -> out uint8[n, 110]."""
    tile, levels = np.empty(16 * _SUB, np.float32), np.empty(16 * _SUB, np.float32)
    scales, units = np.empty(16 * LANES, np.float32), np.empty(LANES, np.float32)
    low, weighted = np.empty(256, np.float32), importance.shape[0] > 0
    weight, sums = np.empty(16 * _SUB, np.float32), np.empty(16 * LANES, np.float32)
    for first in range(0, blocks.shape[0], LANES):
        fill(blocks, first, tile)
        if weighted:
            fill(importance, first, weight)
            weigh(tile, weight, variance(tile, _TWO), sums)
        for s in range(16):
            part = slice(_SUB * s, _SUB * s + _SUB)
            if weighted:
                scale = fit_symmetric(tile[part], weight[part], levels[part], _HALF)
            else:
                scale = refine_symmetric(tile[part], levels[part], _HALF)
            put(scales, s, scale)
        if weighted:
            put(units, 0, fit_symmetric(scales, sums, scales, _SCALE_HALF))
        else:
            put(units, 0, plain_signed_shares(scales, _SCALE_HALF))
        for lane in range(min(LANES, blocks.shape[0] - first)):
            block = out[first + lane]
            unit = put_half(block, 108, units[lane])
            put_scales(scales, lane, block[96:108])
            put_levels(blocks[first + lane], levels, scales, lane, unit, low, block)


@decoder
def decode(blocks: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
    """blocks uint8[n, 110] -> out float32[n, 256]."""
    for b in range(blocks.shape[0]):
        y, x = blocks[b], out[b]
        for s in range(16):
            scale = get_scale(y, s)
            for i in range(16 * s, 16 * s + 16):
                high = (y[i & 31] >> (i >> 5)) & 1
                level = np.int32(get_crumb(y[32:96], i) | (high << 2)) - 4
                x[i] = scale * np.float32(np.int32(level))
