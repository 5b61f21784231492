"""Q6_K: 256 weights as signed 6-bit levels in 16 sub-blocks with signed 8-bit scales.

Layout: low_bits[128] high_bits[64] scales[16] d[2]; weight = d * scale * (level - 32). Within each
half of 128 weights, byte i of 64 low_bits holds the low four bits of levels i and i + 64.
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
from edgepack.quant.kernels.search import EPSILON, fit_symmetric

_HALF = np.int32(32)
_LEAST, _MOST = np.int32(-32), np.int32(31)
_LAST = np.float32(128)


@inner
def put_scales(scales: NDArray[np.float32], block: NDArray[np.uint8]) -> bool:
    """Write d and the 8-bit scales; False where every scale counts as zero."""
    far = farthest(scales)
    if abs(far) < EPSILON:
        return False
    inverse = -_LAST / far
    put_half(block, 208, ONE / inverse)
    for s in range(16):
        block[192 + s] = np.uint8(min(127, int(nearest(inverse * scales[s]))))
    return True


@inner
def get_scale(block: NDArray[np.uint8], s: int) -> np.float32:
    """d * scale of sub-block s."""
    return get_half(block, 208) * np.float32(np.int8(block[192 + s]))


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


@inner
def put_low_bits(levels: NDArray[np.int8], out: NDArray[np.uint8]) -> None:
    """Low four bits of levels[256] into out[128]."""
    for half in range(2):
        for i in range(64):
            first, second = levels[128 * half + i], levels[128 * half + 64 + i]
            out[64 * half + i] = (first & 15) | ((second & 15) << 4)


@encoder
def encode(blocks: NDArray[np.float32], out: NDArray[np.uint8]) -> None:
    """blocks float32[n, 256] -> out uint8[n, 210]."""
    levels, scales = np.empty(256, np.int8), np.empty(16, np.float32)
    for b in range(blocks.shape[0]):
        x, y = blocks[b], out[b]
        for s in range(16):
            sub = slice(16 * s, 16 * s + 16)
            scales[s] = fit_symmetric(x[sub], levels[sub], _HALF)
        if not put_scales(scales, y):
            y[:] = 0
            continue
        assign_levels(x, y, levels)
        put_low_bits(levels, y[:128])
        put_crumbs(levels, 4, y[128:192])


@decoder
def decode(blocks: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
    """blocks uint8[n, 210] -> out float32[n, 256]."""
    for b in range(blocks.shape[0]):
        y, x = blocks[b], out[b]
        for s in range(16):
            scale = get_scale(y, s)
            for i in range(16 * s, 16 * s + 16):
                half, quarter = i >> 7, (i >> 5) & 3
                byte = y[64 * half + 32 * (quarter & 1) + (i & 31)]
                low = (byte >> (4 * (quarter >> 1))) & 15
                level = np.int32(low | (get_crumb(y[128:192], i) << 4)) - 32
                x[i] = scale * np.float32(np.int32(level))
