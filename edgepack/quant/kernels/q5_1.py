"""Q5_1: 32 weights as a float16 scale and minimum, and 5-bit levels.

Layout: d[2] m[2] fifth_bits[4] nibbles[16]; weight = d * q + m.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepack.quant.kernels.compiler import BYTES, READ_FLOATS, decoder, kernel
from edgepack.quant.kernels.lanes import get
from edgepack.quant.kernels.plain import (
    add_fifth_bits,
    extremes,
    get_nibbles,
    put_levels,
    rounded_levels,
)
from edgepack.quant.kernels.scalars import get_half, put_half, reciprocal

_TOP = np.float32(31)
_HALF = np.float32(0.5)


def encode(
    blocks: NDArray[np.float32], importance: NDArray[np.float32], out: NDArray[np.uint8]
) -> None:
    """blocks float32[n, 32] -> out uint8[n, 24]."""
    if importance.shape[0]:
        from edgepack.quant.kernels import weighted_affine

        weighted_affine.encode(blocks, importance, out, _TOP)
    else:
        plain(blocks, out)


@kernel(READ_FLOATS, BYTES)
def plain(blocks: NDArray[np.float32], out: NDArray[np.uint8]) -> None:
    """`encode` without importances: every level is the nearest."""
    for b in range(blocks.shape[0]):
        x, y = blocks[b], out[b]
        low, high = extremes(x)
        scale = (high - low) / _TOP
        inverse = reciprocal(scale)
        put_half(y, 0, scale)
        put_half(y, 2, low)
        first = rounded_levels(get(x, 0), low, inverse, _HALF, _TOP)
        second = rounded_levels(get(x, 1), low, inverse, _HALF, _TOP)
        put_levels(first, second, y[4:8], y[8:24])


@decoder
def decode(blocks: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
    """blocks uint8[n, 24] -> out float32[n, 32]."""
    levels = np.empty(32, np.uint8)
    for b in range(blocks.shape[0]):
        y = blocks[b]
        scale = get_half(y, 0)
        low = get_half(y, 2)
        get_nibbles(y[8:24], levels)
        add_fifth_bits(y[4:8], levels)
        for j in range(32):
            out[b, j] = np.float32(levels[j]) * scale + low
