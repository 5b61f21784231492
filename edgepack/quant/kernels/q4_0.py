"""Q4_0: 32 weights as a float16 scale and 4-bit levels.

Layout: d[2] nibbles[16]; weight = d * (q - 8).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepack.quant.kernels.compiler import BYTES, READ_FLOATS, decoder, kernel
from edgepack.quant.kernels.lanes import get
from edgepack.quant.kernels.plain import farthest, get_nibbles, put_levels, rounded_levels
from edgepack.quant.kernels.scalars import ZERO, get_half, put_half, reciprocal

_TOP, _MIDDLE = np.float32(15), np.float32(8)
_ROUNDING = np.float32(8.5)


def encode(
    blocks: NDArray[np.float32], importance: NDArray[np.float32], out: NDArray[np.uint8]
) -> None:
    """blocks float32[n, 32] -> out uint8[n, 18]."""
    if importance.shape[0]:
        from edgepack.quant.kernels import weighted_symmetric

        weighted_symmetric.encode(blocks, importance, out, _MIDDLE)
    else:
        plain(blocks, out)


@kernel(READ_FLOATS, BYTES)
def plain(blocks: NDArray[np.float32], out: NDArray[np.uint8]) -> None:
    """`encode` without importances: every level is the nearest."""
    for b in range(blocks.shape[0]):
        x, y = blocks[b], out[b]
        scale = farthest(x) / -_MIDDLE
        inverse = reciprocal(scale)
        put_half(y, 0, scale)
        first = rounded_levels(get(x, 0), ZERO, inverse, _ROUNDING, _TOP)
        second = rounded_levels(get(x, 1), ZERO, inverse, _ROUNDING, _TOP)
        put_levels(first, second, y[2:2], y[2:18])


@decoder
def decode(blocks: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
    """blocks uint8[n, 18] -> out float32[n, 32]."""
    levels = np.empty(32, np.uint8)
    for b in range(blocks.shape[0]):
        y = blocks[b]
        scale = get_half(y, 0)
        get_nibbles(y[2:18], levels)
        for j in range(32):
            out[b, j] = (np.float32(levels[j]) - _MIDDLE) * scale
