"""Q5_K: 256 weights as 5-bit levels in 8 sub-blocks with 6-bit scales and offsets.

Layout: d[2] dmin[2] scales[12] fifth_bits[32] nibbles[128]. Byte i of fifth_bits holds bit 4 of
level i of every sub-block, sub-block s in bit s.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepack.quant.kernels import affine
from edgepack.quant.kernels.compiler import decoder

_TOP = np.float32(31)
_TRIALS = (np.float32(-0.5), np.float32(0.1), 16)


def encode(
    blocks: NDArray[np.float32], importance: NDArray[np.float32], out: NDArray[np.uint8]
) -> None:
    """blocks float32[n, 256] -> out uint8[n, 176]."""
    affine.encode(blocks, importance, out, _TOP, _TRIALS)


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
