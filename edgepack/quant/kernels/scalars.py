"""Scalar conversions with the exact bits of C: rounding, truncation, float16, bfloat16.

Every function takes and gives scalars. Integers come back as int32: numba would widen them to
int64, and int64 to float32 is slow.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepack.quant.kernels.compiler import inner

ZERO = np.float32(0.0)
ONE = np.float32(1.0)
_ROUNDER = np.float32(3 << 22)
_BELOW_HALF = np.nextafter(np.float32(0.5), ZERO)
_HALF = np.float32(0.5)
_TINY = np.float32(2.0**-24)
_INT8_LIMIT = np.float32(128.0)


@inner
def nearest(x: np.float32) -> np.int32:
    """x rounded, ties to even, for |x| < 2^22.

    Adding 1.5 * 2^23 leaves the integer in the low mantissa bits. Outside the range (and for
    infinities) those bits are taken as they come, because the reference does.
    """
    bits = np.float32(x + _ROUNDER).view(np.int32)
    return np.int32((bits & 0x7FFFFF) - 0x400000)


@inner
def nearest_between(x: np.float32, low: np.int32, high: np.int32) -> np.int32:
    """`nearest(x)` held within [low, high]."""
    return np.int32(max(low, min(high, nearest(x))))


@inner
def nearest_away(x: np.float32) -> np.float32:
    """x rounded, ties away from zero (C's roundf), for |x| < 2^22."""
    return np.float32(np.trunc(x + np.copysign(_BELOW_HALF, x)))


@inner
def truncated(x: np.float32) -> np.int32:
    """x cut to an integer in (-128, 128); 0 for anything larger or NaN, as x86 converts to int8."""
    return np.int32(x) if abs(x) < _INT8_LIMIT else np.int32(0)


@inner
def reciprocal(x: np.float32) -> np.float32:
    """1 / x, and 0 for 0."""
    return ONE / x if x != ZERO else ZERO


@inner
def half_bits(x: np.float32) -> np.uint16:
    """float32 to IEEE float16 bits, ties to even, with subnormals; NaN becomes the quiet NaN."""
    bits = np.float32(x).view(np.uint32)
    sign = (bits >> 16) & 0x8000
    magnitude = np.uint32(bits & 0x7FFFFFFF)
    if magnitude > 0x7F800000:
        return np.uint16(sign | 0x7E00)
    if magnitude >= 0x477FF000:  # 65520 and above round to infinity
        return np.uint16(sign | 0x7C00)
    if magnitude < 0x38800000:  # below 2^-14: the spacing at 0.5 is that of the subnormals
        shifted = np.float32(magnitude.view(np.float32) + _HALF).view(np.uint32)
        return np.uint16(sign | (shifted - 0x3F000000))
    return np.uint16(sign | (((magnitude + 0xFFF + ((magnitude >> 13) & 1)) >> 13) - (112 << 10)))


@inner
def half_value(bits: np.uint16) -> np.float32:
    """IEEE float16 bits to float32, exactly."""
    magnitude = np.uint32(bits & 0x7FFF)
    if magnitude < 0x400:
        value = np.float32(np.int32(magnitude)) * _TINY
    elif magnitude < 0x7C00:
        value = np.uint32((magnitude << 13) + (112 << 23)).view(np.float32)
    else:
        value = np.uint32((magnitude << 13) | 0x7F800000).view(np.float32)
    return -value if bits & 0x8000 else value


@inner
def brain_bits(x: np.float32) -> np.uint16:
    """float32 to bfloat16 bits, ties to even, subnormals kept; NaN is made quiet."""
    bits = np.float32(x).view(np.uint32)
    if (bits & 0x7FFFFFFF) > 0x7F800000:
        return np.uint16((bits >> 16) | 0x40)
    return np.uint16((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16)


@inner
def brain_value(bits: np.uint16) -> np.float32:
    """bfloat16 bits to float32, exactly."""
    return np.uint32(np.uint32(bits) << 16).view(np.float32)


@inner
def put_half(block: NDArray[np.uint8], at: int, x: np.float32) -> np.float32:
    """Store x as float16 at byte `at`; returns what a reader will get back."""
    bits = half_bits(x)
    block[at] = bits & 0xFF
    block[at + 1] = bits >> 8
    return half_value(bits)


@inner
def get_half(block: NDArray[np.uint8], at: int) -> np.float32:
    """The float16 at byte `at`."""
    return half_value(np.uint16(block[at] | (block[at + 1] << 8)))
