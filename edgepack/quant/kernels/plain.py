"""Extremes of a block, and where the encodings of 32 weights keep their levels.

In Q4_0, Q4_1, Q5_0, Q5_1 the low 4 bits of level j share a byte with those of level j + 16; fifth
bits lie in 4 bytes of their own, one bit per weight.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepack.quant.kernels.compiler import inner
from edgepack.quant.kernels.scalars import ZERO


@inner
def farthest(x: NDArray[np.float32]) -> np.float32:
    """The element of largest magnitude, with its sign; of equals, the first."""
    magnitude, element = ZERO, ZERO
    for j in range(x.size):
        if abs(x[j]) > magnitude:
            magnitude = abs(x[j])
            element = x[j]
    return element


@inner
def peak(values: NDArray[np.float32]) -> np.float32:
    """The greatest positive element, or 0."""
    greatest = ZERO
    for j in range(values.size):
        greatest = values[j] if values[j] > greatest else greatest
    return greatest


@inner
def extremes(x: NDArray[np.float32]) -> tuple[np.float32, np.float32]:
    """Least and greatest element."""
    low, high = x[0], x[0]
    for j in range(1, x.size):
        low = x[j] if x[j] < low else low
        high = x[j] if x[j] > high else high
    return low, high


@inner
def put_nibbles(levels: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Low 4 bits of levels[32] into out[16]."""
    for j in range(16):
        out[j] = (levels[j] & 15) | ((levels[j + 16] & 15) << 4)


@inner
def put_fifth_bits(levels: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Bit 4 of levels[32] into out[4]."""
    for k in range(4):
        byte = 0
        for j in range(8):
            byte |= ((levels[8 * k + j] >> 4) & 1) << j
        out[k] = byte


@inner
def get_nibbles(packed: NDArray[np.uint8], levels: NDArray[np.uint8]) -> None:
    """packed[16] into levels[32]."""
    for j in range(16):
        levels[j] = packed[j] & 15
        levels[j + 16] = packed[j] >> 4


@inner
def add_fifth_bits(packed: NDArray[np.uint8], levels: NDArray[np.uint8]) -> None:
    """packed[4] added to levels[32] as bit 4."""
    for j in range(32):
        levels[j] |= ((packed[j >> 3] >> (j & 7)) & 1) << 4
