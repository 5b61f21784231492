"""Q8_0: 32 weights as a float16 scale and 32 signed bytes.

Layout: d[2] q[32]; weight = d * q.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepack.quant.kernels.compiler import decoder, encoder
from edgepack.quant.kernels.scalars import (
    ZERO,
    get_half,
    nearest_away,
    put_half,
    reciprocal,
    truncated,
)

_TOP = np.float32(127)


@encoder
def encode(
    blocks: NDArray[np.float32], importance: NDArray[np.float32], out: NDArray[np.uint8]
) -> None:
    """blocks float32[n, 32] -> out uint8[n, 34]; importance changes nothing."""
    for b in range(blocks.shape[0]):
        x, y = blocks[b], out[b]
        peak = ZERO
        for j in range(32):
            peak = max(peak, abs(x[j]))
        scale = peak / _TOP
        inverse = reciprocal(scale)
        put_half(y, 0, scale)
        for j in range(32):
            y[2 + j] = truncated(nearest_away(x[j] * inverse))


@decoder
def decode(blocks: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
    """blocks uint8[n, 34] -> out float32[n, 32]."""
    for b in range(blocks.shape[0]):
        y = blocks[b]
        scale = get_half(y, 0)
        for j in range(32):
            out[b, j] = np.float32(np.int8(y[2 + j])) * scale
