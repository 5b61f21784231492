"""Where Q2_K, Q3_K and Q6_K keep 2-bit pieces: 256 of them in 64 bytes.

Each half of 128 weights has 32 bytes; byte i of a half holds elements i, i + 32, i + 64 and
i + 96, lowest bits first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepack.quant.kernels.compiler import inner


@inner
def put_crumbs(levels: NDArray[np.int8], shift: int, out: NDArray[np.uint8]) -> None:
    """Bits shift and shift + 1 of levels[256] into out[64]."""
    for half in range(2):
        for i in range(32):
            byte = 0
            for quarter in range(4):
                level = levels[128 * half + 32 * quarter + i]
                byte |= ((level >> shift) & 3) << (2 * quarter)
            out[32 * half + i] = byte


@inner
def get_crumb(packed: NDArray[np.uint8], i: int) -> np.uint8:
    """Element i out of packed[64]."""
    half, quarter = i >> 7, (i >> 5) & 3
    return np.uint8((packed[32 * half + (i & 31)] >> (2 * quarter)) & 3)
