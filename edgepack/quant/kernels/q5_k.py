"""Q5_K: 256 weights as 5-bit levels in 8 sub-blocks with 6-bit scales and offsets.

Layout: d[2] dmin[2] scales[12] fifth_bits[32] nibbles[128]. Byte i of fifth_bits holds bit 4 of
level i of every sub-block, sub-block s in bit s.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepack.quant.kernels import affine
from edgepack.quant.kernels.compiler import decoder, encoder

_TOP = np.int32(31)
_START = np.float32(-0.5)
_TRIALS = 16


@encoder
def encode(blocks: NDArray[np.float32], out: NDArray[np.uint8]) -> None:
    """blocks float32[n, 256] -> out uint8[n, 176]."""
    levels = np.empty(256, np.int8)
    scratch = (
        np.empty(8, np.float32),
        np.empty(8, np.float32),
        np.empty(32, np.float32),
        np.empty(32, np.int8),
    )
    for b in range(blocks.shape[0]):
        x, y = blocks[b], out[b]
        scales, offsets = affine.fit_sub_blocks(x, levels, scratch, _TOP, _START, _TRIALS)
        affine.put_scales(scales, offsets, y)
        affine.assign_levels(x, y, _TOP, levels)
        for i in range(32):
            byte = 0
            for s in range(8):
                byte |= (levels[32 * s + i] >> 4) << s
            y[16 + i] = byte
        affine.put_nibbles(levels, y[48:176])


@decoder
def decode(blocks: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
    """blocks uint8[n, 176] -> out float32[n, 256]."""
    for b in range(blocks.shape[0]):
        y, x = blocks[b], out[b]
        for s in range(8):
            scale, offset = affine.get_scales(y, s)
            for i in range(32):
                fifth = (y[16 + i] >> s) & 1
                level = affine.get_nibble(y[48:176], s, i) | (fifth << 4)
                x[32 * s + i] = scale * np.float32(level) - offset
