"""Q5_0: 32 weights as a float16 scale and 5-bit levels.

Layout: d[2] fifth_bits[4] nibbles[16]; weight = d * (q - 16).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepack.quant.kernels.compiler import decoder, encoder
from edgepack.quant.kernels.plain import (
    add_fifth_bits,
    farthest,
    get_nibbles,
    put_fifth_bits,
    put_nibbles,
)
from edgepack.quant.kernels.scalars import get_half, put_half, reciprocal, truncated

_MIDDLE = np.float32(16)
_ROUNDING = np.float32(16.5)


@encoder
def encode(blocks: NDArray[np.float32], out: NDArray[np.uint8]) -> None:
    """blocks float32[n, 32] -> out uint8[n, 22]."""
    levels = np.empty(32, np.uint8)
    for b in range(blocks.shape[0]):
        x, y = blocks[b], out[b]
        scale = farthest(x) / -_MIDDLE
        inverse = reciprocal(scale)
        put_half(y, 0, scale)
        for j in range(32):
            levels[j] = min(31, int(truncated(x[j] * inverse + _ROUNDING)))
        put_fifth_bits(levels, y[2:6])
        put_nibbles(levels, y[6:22])


@decoder
def decode(blocks: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
    """blocks uint8[n, 22] -> out float32[n, 32]."""
    levels = np.empty(32, np.uint8)
    for b in range(blocks.shape[0]):
        y = blocks[b]
        scale = get_half(y, 0)
        get_nibbles(y[6:22], levels)
        add_fifth_bits(y[2:6], levels)
        for j in range(32):
            out[b, j] = (np.float32(levels[j]) - _MIDDLE) * scale
