"""MXFP4: 32 weights as 4-bit floats (E2M1) that share a power of two (OCP Microscaling 1.0).

A code is a sign bit above three bits of magnitude: 0, 0.5, 1, 1.5, 2, 3, 4, 6. The exponent is
stored plus 127, so a group needs no bias.

`plain` gives the bits of mx.quantize(mode="mxfp4") on the CPU, found by trying every bfloat16 and
float16 as a group's peak: the exponent is rounded up, and a weight halfway between two magnitudes
takes the lesser. Where peak / 6 is subnormal mx.quantize wraps the exponent; here it ends at -127.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepack.quant.kernels.compiler import (
    BYTE_ROW,
    BYTES,
    FLOATS,
    INTEGER,
    READ_BYTE_ROW,
    READ_BYTES,
    READ_FLOATS,
    inner,
    kernel,
)
from edgepack.quant.kernels.precision import rounded
from edgepack.quant.kernels.scalars import ONE, ZERO

GROUP = 32
_LARGEST = np.float32(6)
_HALF = np.float32(0.5)
_BIAS = 127


@inner
def peak_exponent(x: NDArray[np.float32], precision: int) -> int:
    """The least exponent under which no weight exceeds 6, the largest magnitude; 0 for zeros.

    The quotient is rounded to `precision`, the type of the model, as mx.quantize does.
    """
    peak = ZERO
    for i in range(x.size):
        peak = max(peak, abs(x[i]))
    bits = np.float32(rounded(peak / _LARGEST, precision)).view(np.int32)
    if bits == 0:
        return 0
    return int(bits >> 23) - _BIAS + (1 if bits & 0x7FFFFF else 0)


@inner
def power_of_two(exponent: int) -> np.float32:
    """2^exponent for -127 <= exponent <= 127, the first of which is subnormal."""
    if exponent == -_BIAS:
        return np.int32(1 << 22).view(np.float32)
    return np.int32((exponent + _BIAS) << 23).view(np.float32)


@inner
def magnitude_code(x: np.float32) -> np.uint8:
    """The nearest magnitude's code for x >= 0; halfway between two, the lesser."""
    return np.uint8(
        np.uint8(x > np.float32(0.25))
        + np.uint8(x > np.float32(0.75))
        + np.uint8(x > np.float32(1.25))
        + np.uint8(x > np.float32(1.75))
        + np.uint8(x > np.float32(2.5))
        + np.uint8(x > np.float32(3.5))
        + np.uint8(x > np.float32(5))
    )


@inner
def magnitude(code: np.uint8) -> np.float32:
    """0, 0.5, 1, 1.5, 2, 3, 4, 6."""
    mantissa = _HALF * np.float32(code & 1)
    if code < 2:
        return mantissa
    return (ONE + mantissa) * np.float32(1 << ((code >> 1) - 1))


@inner
def assign(x: NDArray[np.float32], exponent: int, codes: NDArray[np.uint8]) -> None:
    """Nearest code of every weight; what rounds to zero has no sign."""
    unit = power_of_two(exponent)
    for i in range(x.size):
        code = magnitude_code(abs(x[i]) / unit)
        codes[i] = code | (np.uint8(8) if x[i] < ZERO and code > 0 else np.uint8(0))


@inner
def nearest_magnitude(x: np.float32) -> np.float32:
    """What `magnitude(magnitude_code(x))` gives, without a branch, so that a loop vectorises."""
    near = _HALF if x > np.float32(0.25) else ZERO
    near += _HALF if x > np.float32(0.75) else ZERO
    near += _HALF if x > np.float32(1.25) else ZERO
    near += _HALF if x > np.float32(1.75) else ZERO
    near += ONE if x > np.float32(2.5) else ZERO
    near += ONE if x > np.float32(3.5) else ZERO
    near += np.float32(2) if x > np.float32(5) else ZERO
    return near


@inner
def error(x: NDArray[np.float32], exponent: int, scratch: NDArray[np.float32]) -> np.float32:
    """Squared error of a group under this exponent; scratch is float32[32]."""
    unit, total = power_of_two(exponent), ZERO
    for i in range(x.size):
        scaled = abs(x[i]) / unit
        difference = (scaled - nearest_magnitude(scaled)) * unit
        scratch[i] = difference * difference
    for i in range(x.size):
        total += scratch[i]
    return total


@kernel(READ_FLOATS, INTEGER, BYTE_ROW, BYTES)
def plain(
    groups: NDArray[np.float32],
    precision: int,
    scales: NDArray[np.uint8],
    codes: NDArray[np.uint8],
) -> None:
    """groups float32[n, 32] -> scales uint8[n], codes uint8[n, 32] below 16."""
    for g in range(groups.shape[0]):
        exponent = peak_exponent(groups[g], precision)
        scales[g] = exponent + _BIAS
        assign(groups[g], exponent, codes[g])


@kernel(READ_FLOATS, INTEGER, BYTE_ROW, BYTES)
def search(
    groups: NDArray[np.float32],
    precision: int,
    scales: NDArray[np.uint8],
    codes: NDArray[np.uint8],
) -> None:
    """As `plain`, with the best of its exponent and the two beside it, by squared error."""
    scratch = np.empty(GROUP, np.float32)
    for g in range(groups.shape[0]):
        x = groups[g]
        middle = peak_exponent(x, precision)
        exponent, least = middle, error(x, middle, scratch)
        for trial in (middle - 1, middle + 1):
            if abs(trial) <= _BIAS:
                found = error(x, trial, scratch)
                if found < least:
                    exponent, least = trial, found
        scales[g] = exponent + _BIAS
        assign(x, exponent, codes[g])


@kernel(READ_BYTES, READ_BYTE_ROW, FLOATS)
def decode(codes: NDArray[np.uint8], scales: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
    """codes uint8[n, 32], scales uint8[n] -> out float32[n, 32]."""
    for g in range(codes.shape[0]):
        unit = power_of_two(int(scales[g]) - _BIAS)
        for i in range(codes.shape[1]):
            value = magnitude(np.uint8(codes[g, i] & 7)) * unit
            out[g, i] = -value if codes[g, i] & 8 else value
