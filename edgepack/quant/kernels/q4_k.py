"""Q4_K: 256 weights as 4-bit levels in 8 sub-blocks with 6-bit scales and offsets.

Layout: d[2] dmin[2] scales[12] nibbles[128].
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepack.quant.kernels import affine
from edgepack.quant.kernels.compiler import decoder

_TOP = np.float32(15)
_TRIALS = (np.float32(-1.0), np.float32(0.1), 21)


def encode(
    blocks: NDArray[np.float32], importance: NDArray[np.float32], out: NDArray[np.uint8]
) -> None:
    """blocks float32[n, 256] -> out uint8[n, 144]."""
    affine.encode(blocks, importance, out, _TOP, _TRIALS)


@decoder
def decode(blocks: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
    """blocks uint8[n, 144] -> out float32[n, 256]."""
    for b in range(blocks.shape[0]):
        y, x = blocks[b], out[b]
        for s in range(8):
            scale, offset = affine.get_scales(y, s)
            for i in range(32):
                level = affine.get_nibble(y[16:144], s, i)
                x[32 * s + i] = scale * np.float32(level) - offset
