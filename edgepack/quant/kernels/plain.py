"""Extremes of a block, and where the encodings of 32 weights keep their levels.

In Q4_0, Q4_1, Q5_0, Q5_1 the low 4 bits of level j share a byte with those of level j + 16; fifth
bits lie in 4 bytes of their own, one bit per weight.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepack.quant.kernels.compiler import inner
from edgepack.quant.kernels.lanes import (
    Lanes,
    equal,
    floor,
    get,
    greatest,
    lanes_set,
    least,
    magnitude,
    put_bytes,
    select,
)
from edgepack.quant.kernels.scalars import ZERO

_FIFTEEN, _SIXTEEN, _INT8_LIMIT = np.float32(15), np.float32(16), np.float32(128)


@inner
def farthest(x: NDArray[np.float32]) -> np.float32:
    """The element of largest magnitude, with its sign, of float32[32]; of equals, the first."""
    first, second = get(x, 0), get(x, 1)
    a, b = magnitude(first), magnitude(second)
    size = greatest(select(a > b, a, b))
    if size == ZERO:
        return ZERO
    if lanes_set(equal(first, -size) | equal(second, -size)) == 0:
        return size
    if lanes_set(equal(first, size) | equal(second, size)) == 0:
        return -size
    for j in range(32):
        if abs(x[j]) == size:
            return np.float32(x[j])
    return ZERO


@inner
def extremes(x: NDArray[np.float32]) -> tuple[np.float32, np.float32]:
    """Least and greatest element of float32[32]; of zeros, the first."""
    first, second = get(x, 0), get(x, 1)
    low = least(select(first < second, first, second))
    high = greatest(select(first > second, first, second))
    if low == ZERO:
        for j in range(31, -1, -1):
            low = x[j] if x[j] == ZERO else low
        high = low if high == ZERO else high
    return low, high


@inner
def rounded_levels(
    x: Lanes, low: np.float32, inverse: np.float32, half: np.float32, top: np.float32
) -> Lanes:
    """(x - low) * inverse + half, cut to an integer of at most top; 0 for what no int8 holds."""
    level = (x - low) * inverse + half
    level = select(magnitude(level) < _INT8_LIMIT, floor(level), ZERO)
    return select(level > top, top, level)


@inner
def put_levels(
    first: Lanes, second: Lanes, fifth_bits: NDArray[np.uint8], nibbles: NDArray[np.uint8]
) -> None:
    """Write 32 levels, those of 5 bits into fifth_bits[4] and nibbles[16]."""
    if fifth_bits.size:
        first_high, second_high = first > _FIFTEEN, second > _FIFTEEN
        bits = lanes_set(first_high) | (lanes_set(second_high) << 16)
        for k in range(4):
            fifth_bits[k] = np.uint8(bits >> (8 * k))
        first = select(first_high, first - _SIXTEEN, first)
        second = select(second_high, second - _SIXTEEN, second)
    put_bytes(nibbles, 0, first + _SIXTEEN * second)


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
