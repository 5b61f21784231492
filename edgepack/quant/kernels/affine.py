"""What Q4_K and Q5_K share: 8 sub-blocks of 32 weights, each with a 6-bit scale and offset.

    weight = (d * scale) * level - (dmin * offset)

The 16 six-bit numbers fill 12 bytes: for sub-blocks 0 to 3 scales in bytes 0 to 3 and offsets in 4
to 7; for 4 to 7 the low four bits of both in bytes 8 to 11, the high two bits atop bytes 0 to 7.
Levels: fifth_bits[32], in Q5_K alone, nibbles[128].
"""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from edgepack.quant.kernels.affine_search import Tile, Trials, fit_affine
from edgepack.quant.kernels.compiler import BYTES, READ_FLOATS, inner, kernel
from edgepack.quant.kernels.importance import TRIALS, variance, weigh
from edgepack.quant.kernels.lane_tiles import (
    column,
    fill,
    nearest_between,
    sum_of_squares,
)
from edgepack.quant.kernels.lanes import (
    LANES,
    get,
    magnitude,
    put,
    put_bytes,
    select,
    splat,
    square_root,
)
from edgepack.quant.kernels.scalars import ONE, ZERO, get_half, put_half
from edgepack.quant.kernels.share_search import share

_LAST = np.float32(63)
_WIDTH = np.float32(32)
_SIXTEEN, _FIFTEEN, _TWO, _FOUR = (np.float32(n) for n in (16, 15, 2, 4))
_SUB = 32 * LANES
_TRIALS = types.Tuple((types.float32, types.float32, types.int64))


@inner
def weigh_plainly(tile: Tile, weight: Tile) -> None:
    """Each weight counts rms + |x|, where rms is that of its sub-block."""
    for s in range(8):
        rms = square_root(sum_of_squares(tile[_SUB * s : _SUB * s + _SUB]) / _WIDTH)
        for i in range(32 * s, 32 * s + 32):
            put(weight, i, rms + magnitude(get(tile, i)))


@inner
def put_scales(scales: Tile, offsets: Tile, lane: int, packed: NDArray[np.uint8]) -> None:
    """Write the six-bit numbers of one block into packed[12]."""
    for s in range(8):
        scale = min(63, int(scales[LANES * s + lane]))
        offset = min(63, int(offsets[LANES * s + lane]))
        if s < 4:
            packed[s] = scale
            packed[s + 4] = offset
        else:
            packed[s + 4] = (scale & 15) | ((offset & 15) << 4)
            packed[s - 4] |= (scale >> 4) << 6
            packed[s] |= (offset >> 4) << 6


@inner
def get_scales(block: NDArray[np.uint8], s: int) -> tuple[np.float32, np.float32]:
    """(d * scale, dmin * offset) of sub-block s."""
    packed = block[4:16]
    if s < 4:
        scale, offset = packed[s] & 63, packed[s + 4] & 63
    else:
        scale = (packed[s + 4] & 15) | ((packed[s - 4] >> 6) << 4)
        offset = (packed[s + 4] >> 4) | ((packed[s] >> 6) << 4)
    return (
        get_half(block, 0) * np.float32(scale),
        get_half(block, 2) * np.float32(offset),
    )


@inner
def stored_levels(
    x: NDArray[np.float32], levels: Tile, lane: int, top: np.float32,
    block: NDArray[np.uint8], row: NDArray[np.float32],
) -> None:  # fmt: skip
    """Nearest levels of x float32[256] for the scales as stored; those of the search if one is 0.

    They go to row float32[256].
    """
    for s in range(8):
        scale, offset = get_scales(block, s)
        for k in range(2 * s, 2 * s + 2):
            if scale == ZERO:
                put(row, k, column(levels, lane, k))
            else:
                put(row, k, nearest_between((get(x, k) + offset) / scale, ZERO, top))


@inner
def put_levels(row: NDArray[np.float32], block: NDArray[np.uint8]) -> None:
    """Write levels float32[256]: two neighbouring sub-blocks share 32 bytes of nibbles."""
    fifths, nibbles = block[16:-128], block[-128:]
    for half in range(2):
        fifth_bits, bit = splat(ZERO), ONE
        for pair in range(4):
            low, high = get(row, 4 * pair + half), get(row, 4 * pair + 2 + half)
            low_fifth = select(low > _FIFTEEN, ONE, ZERO)
            high_fifth = select(high > _FIFTEEN, ONE, ZERO)
            fifth_bits += bit * (low_fifth + _TWO * high_fifth)
            bit *= _FOUR
            low -= _SIXTEEN * low_fifth
            high -= _SIXTEEN * high_fifth
            put_bytes(nibbles, 2 * pair + half, low + _SIXTEEN * high)
        if fifths.size:
            put_bytes(fifths, half, fifth_bits)


@inner
def get_nibble(packed: NDArray[np.uint8], s: int, i: int) -> np.uint8:
    """Level i of sub-block s out of packed[128]."""
    return np.uint8((packed[32 * (s >> 1) + i] >> (4 * (s & 1))) & 15)


@kernel(READ_FLOATS, READ_FLOATS, BYTES, types.float32, _TRIALS)
def encode(
    blocks: NDArray[np.float32],
    importance: NDArray[np.float32],
    out: NDArray[np.uint8],
    top: np.float32,
    trials: Trials,
) -> None:
    """blocks float32[n, 256] -> out uint8[n, 16 + level bytes]; trials are those of plain weights.

    Compiled once for both encodings.
    """
    tile, levels = np.empty(8 * _SUB, np.float32), np.empty(8 * _SUB, np.float32)
    scales, offsets = np.empty(8 * LANES, np.float32), np.empty(8 * LANES, np.float32)
    weight, sums = np.empty(8 * _SUB, np.float32), np.empty(8 * LANES, np.float32)
    units, weighted = np.empty(2 * LANES, np.float32), importance.shape[0] > 0
    row = np.empty(256, np.float32)
    trials = TRIALS if weighted else trials
    for first in range(0, blocks.shape[0], LANES):
        fill(blocks, first, tile)
        if weighted:
            fill(importance, first, weight)
            weigh(tile, weight, variance(tile, _TWO), sums)
        else:
            weigh_plainly(tile, weight)
        for s in range(8):
            part = slice(_SUB * s, _SUB * s + _SUB)
            scale, offset = fit_affine(tile[part], weight[part], levels[part], top, trials, False)
            put(scales, s, scale)
            put(offsets, s, offset)
        share(scales, offsets, _LAST, weighted, sums, units)
        for lane in range(min(LANES, blocks.shape[0] - first)):
            block = out[first + lane]
            put_half(block, 0, units[lane])
            put_half(block, 2, units[LANES + lane])
            put_scales(scales, offsets, lane, block[4:16])
            stored_levels(blocks[first + lane], levels, lane, top, block, row)
            put_levels(row, block)
