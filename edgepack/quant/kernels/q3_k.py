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
from edgepack.quant.kernels.plain import farthest
from edgepack.quant.kernels.scalars import (
    ONE,
    ZERO,
    get_half,
    nearest,
    nearest_between,
    put_half,
)
from edgepack.quant.kernels.search import refine_symmetric

_HALF = np.int32(4)
_LEAST, _MOST = np.int32(-4), np.int32(3)
_LAST = np.float32(32)


@inner
def put_scales(scales: NDArray[np.float32], block: NDArray[np.uint8]) -> None:
    """Write d and the packed six-bit numbers; all zero where every scale is."""
    packed = block[96:108]
    packed[:] = 0
    far = farthest(scales)
    if far == ZERO:
        put_half(block, 108, ZERO)
        return
    inverse = -_LAST / far
    put_half(block, 108, ONE / inverse)
    for s in range(16):
        scale = max(-32, min(31, int(np.int8(nearest(inverse * scales[s]))))) + 32
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
def assign_levels(
    x: NDArray[np.float32], block: NDArray[np.uint8], levels: NDArray[np.int8]
) -> None:
    """Nearest levels for the scales as stored; where a stored scale is 0, levels stay."""
    for s in range(16):
        scale = get_scale(block, s)
        if scale == ZERO:
            continue
        for i in range(16 * s, 16 * s + 16):
            levels[i] = _HALF + nearest_between(x[i] / scale, _LEAST, _MOST)


@encoder
def encode(blocks: NDArray[np.float32], out: NDArray[np.uint8]) -> None:
    """blocks float32[n, 256] -> out uint8[n, 110]."""
    levels, scales = np.empty(256, np.int8), np.empty(16, np.float32)
    for b in range(blocks.shape[0]):
        x, y = blocks[b], out[b]
        for s in range(16):
            sub = slice(16 * s, 16 * s + 16)
            scales[s] = refine_symmetric(x[sub], levels[sub], _HALF)
        put_scales(scales, y)
        assign_levels(x, y, levels)
        for i in range(32):
            byte = 0
            for k in range(8):
                byte |= (levels[32 * k + i] >> 2) << k
            y[i] = byte
        put_crumbs(levels, 0, y[32:96])


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
