"""Where Q2_K, Q3_K and Q6_K keep 2-bit pieces: 256 of them in 64 bytes.

Each half of 128 weights has 32 bytes; byte i of a half holds elements i, i + 32, i + 64 and
i + 96, lowest bits first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepack.quant.kernels.compiler import inner
from edgepack.quant.kernels.lanes import get, put_bytes

_FOUR, _SIXTEEN, _SIXTY_FOUR = np.float32(4), np.float32(16), np.float32(64)


@inner
def put_crumbs(pieces: NDArray[np.float32], out: NDArray[np.uint8]) -> None:
    """pieces float32[256], each 0 to 3, into out[64]."""
    for half in range(2):
        for i in range(2):
            k = 8 * half + i
            byte = get(pieces, k) + _FOUR * get(pieces, k + 2)
            byte += _SIXTEEN * get(pieces, k + 4) + _SIXTY_FOUR * get(pieces, k + 6)
            put_bytes(out, 2 * half + i, byte)


@inner
def get_crumb(packed: NDArray[np.uint8], i: int) -> np.uint8:
    """Element i out of packed[64]."""
    half, quarter = i >> 7, (i >> 5) & 3
    return np.uint8((packed[32 * half + (i & 31)] >> (2 * quarter)) & 3)
