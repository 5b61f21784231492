"""TQ1_0: 256 weights, each -1, 0 or 1 times a float16 scale, as digits 0, 1, 2 of base three.

Layout: five_digits[48] four_digits[4] d[2]; weight = d * (digit - 1). Byte i of the first 32 has
the digits of weights i, i + 32, ..., i + 128, the first one highest; the next 16 bytes those of
160 + i, 176 + i, ..., 224 + i; the last 4 those of 240 + i, ..., 252 + i, and 0 for the fifth. A
number n of five digits is stored as 256 n / 243, rounded up: then every digit is the part before
the point of a multiplication by three.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepack.quant.kernels.compiler import decoder, encoder, inner
from edgepack.quant.kernels.lanes import Lanes, floor, get, put_bytes, splat
from edgepack.quant.kernels.scalars import ZERO, get_half, put_half
from edgepack.quant.kernels.ternary import assign

_THREE, _RANGE, _NUMBERS = np.float32(3), np.float32(256), np.float32(243)


@inner
def five_digits(digits: NDArray[np.float32], start: int, step: int) -> Lanes:
    """Sixteen bytes whose digits are vectors start, start + step, ... of digits float32[256]."""
    number = splat(ZERO)
    for n in range(5):
        number = _THREE * number + get(digits, start + step * n)
    return floor((number * _RANGE + (_NUMBERS - np.float32(1))) / _NUMBERS)


@inner
def digit(byte: np.uint8, n: int) -> int:
    """Digit n, 0 the highest, of a stored byte."""
    for _ in range(n):
        byte = np.uint8(byte * 3)
    return (int(byte) * 3) >> 8


@encoder
def encode(
    blocks: NDArray[np.float32], importance: NDArray[np.float32], out: NDArray[np.uint8]
) -> None:
    """blocks float32[n, 256] -> out uint8[n, 54]; importance changes nothing."""
    digits = np.empty(256, np.float32)
    for b in range(blocks.shape[0]):
        y = out[b]
        put_half(y, 52, assign(blocks[b], digits))
        put_bytes(y, 0, five_digits(digits, 0, 2))
        put_bytes(y, 1, five_digits(digits, 1, 2))
        put_bytes(y, 2, five_digits(digits, 10, 1))
        for i in range(4):
            number = 0
            for n in range(4):
                number = 3 * number + int(digits[240 + 4 * n + i])
            y[48 + i] = (3 * number * 256 + 242) // 243


@decoder
def decode(blocks: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
    """blocks uint8[n, 54] -> out float32[n, 256]."""
    for b in range(blocks.shape[0]):
        y, x = blocks[b], out[b]
        scale = get_half(y, 52)
        for n in range(5):
            for i in range(32):
                x[32 * n + i] = np.float32(np.int32(digit(y[i], n) - 1)) * scale
            for i in range(16):
                x[160 + 16 * n + i] = np.float32(np.int32(digit(y[32 + i], n) - 1)) * scale
        for n in range(4):
            for i in range(4):
                x[240 + 4 * n + i] = np.float32(np.int32(digit(y[48 + i], n) - 1)) * scale
