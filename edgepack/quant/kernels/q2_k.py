"""Q2_K: 256 weights as 2-bit levels in 16 sub-blocks with 4-bit scales and offsets.

Layout: scales[16] levels[64] d[2] dmin[2]; a byte of scales holds the scale below, the offset
above; weight = (d * scale) * level - (dmin * offset).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepack.quant.kernels.affine_search import fit_affine
from edgepack.quant.kernels.compiler import decoder, encoder, inner
from edgepack.quant.kernels.crumbs import get_crumb, put_crumbs
from edgepack.quant.kernels.importance import TRIALS, variance, weigh
from edgepack.quant.kernels.lane_tiles import Tile, column, fill, nearest_between
from edgepack.quant.kernels.lanes import LANES, Lanes, get, magnitude, put
from edgepack.quant.kernels.scalars import ONE, ZERO, get_half, put_half
from edgepack.quant.kernels.share_search import share

_TOP = np.float32(3)
_LAST = np.float32(15)
_TRIALS = (np.float32(-0.5), np.float32(0.1), 16)
_SUB = 16 * LANES


@inner
def get_scales(block: NDArray[np.uint8], s: int) -> tuple[np.float32, np.float32]:
    """(d * scale, dmin * offset) of sub-block s."""
    return (
        get_half(block, 80) * np.float32(block[s] & 15),
        get_half(block, 82) * np.float32(block[s] >> 4),
    )


@inner
def stored_levels(
    x: NDArray[np.float32], levels: Tile, lane: int, scale: np.float32, offset: np.float32, s: int
) -> Lanes:
    """Nearest levels of a sub-block for its scale as stored; those of the search if that is 0."""
    if scale == ZERO:
        return column(levels, lane, s)
    return nearest_between((get(x, s) + offset) / scale, ZERO, _TOP)


@encoder
def encode(
    blocks: NDArray[np.float32], importance: NDArray[np.float32], out: NDArray[np.uint8]
) -> None:
    """blocks float32[n, 256] -> out uint8[n, 84]."""
    tile, levels = np.empty(16 * _SUB, np.float32), np.empty(16 * _SUB, np.float32)
    weight, row = np.empty(16 * _SUB, np.float32), np.empty(256, np.float32)
    scales, offsets = np.empty(16 * LANES, np.float32), np.empty(16 * LANES, np.float32)
    sums, units = np.empty(16 * LANES, np.float32), np.empty(2 * LANES, np.float32)
    weighted = importance.shape[0] > 0
    trials = TRIALS if weighted else _TRIALS
    for first in range(0, blocks.shape[0], LANES):
        fill(blocks, first, tile)
        if weighted:
            fill(importance, first, weight)
            weigh(tile, weight, variance(tile, ONE), sums)
        else:
            for i in range(256):
                put(weight, i, magnitude(get(tile, i)))
        for s in range(16):
            part = slice(_SUB * s, _SUB * s + _SUB)
            scale, offset = fit_affine(
                tile[part], weight[part], levels[part], _TOP, trials, not weighted
            )
            put(scales, s, scale)
            put(offsets, s, offset)
        share(scales, offsets, _LAST, weighted, sums, units)
        for lane in range(min(LANES, blocks.shape[0] - first)):
            block = out[first + lane]
            unit = put_half(block, 80, units[lane])
            offset_unit = put_half(block, 82, units[LANES + lane])
            for s in range(16):
                at = LANES * s + lane
                block[s] = np.uint8(int(scales[at]) | (int(offsets[at]) << 4))
            for s in range(16):
                step = unit * np.float32(block[s] & 15)
                start = offset_unit * np.float32(block[s] >> 4)
                put(row, s, stored_levels(blocks[first + lane], levels, lane, step, start, s))
            put_crumbs(row, block[16:80])


@decoder
def decode(blocks: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
    """blocks uint8[n, 84] -> out float32[n, 256]."""
    for b in range(blocks.shape[0]):
        y, x = blocks[b], out[b]
        for s in range(16):
            scale, offset = get_scales(y, s)
            for i in range(16 * s, 16 * s + 16):
                x[i] = scale * np.float32(get_crumb(y[16:80], i)) - offset
