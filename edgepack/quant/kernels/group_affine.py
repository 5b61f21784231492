"""Groups of weights that share a scale and a bias: weight = scale * level + bias.

`plain` restates what mx.quantize computes on the CPU (mlx/backend/cpu/quantized.cpp, `quantize`),
operation by operation, because the bits must be the same: the edge of larger magnitude is hit
exactly, and the scale is stretched so that zero is a level.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepack.quant.kernels.compiler import (
    BYTES,
    FLOAT_ROW,
    FLOATS,
    INTEGER,
    READ_BYTES,
    READ_FLOAT_ROW,
    READ_FLOATS,
    inner,
    kernel,
)
from edgepack.quant.kernels.scalars import ZERO

LEAST_SCALE = np.float32(1e-7)
_SIGN_DROPPED = np.int32(0x7FFFFFFF)
_ROUNDER = np.float32(1 << 23)


@inner
def line(low: np.float32, high: np.float32, top: np.float32) -> tuple[np.float32, np.float32]:
    """(scale, bias) of mx.quantize for weights within [low, high] and levels within [0, top]."""
    downward = abs(low) > abs(high)
    scale = max((high - low) / top, LEAST_SCALE)
    edge = high
    if downward:
        edge = low
    else:
        scale = -scale
    steps = np.rint(edge / scale)
    if steps == ZERO:
        return scale, ZERO
    return edge / steps, edge


@inner
def assign(
    x: NDArray[np.float32],
    scale: np.float32,
    bias: np.float32,
    top: np.float32,
    levels: NDArray[np.uint8],
) -> None:
    """Nearest level of every element; ties go to the even one."""
    for i in range(x.size):
        level = min(max((x[i] - bias) / scale, ZERO), top)
        # Adding 2^23 rounds, and leaves the integer in the low bits.
        levels[i] = np.uint8(np.float32(level + _ROUNDER).view(np.int32))


@inner
def extremes(x: NDArray[np.float32]) -> tuple[np.float32, np.float32]:
    """Least and greatest element, compared as integers of the same order.

    A minimum of floats must mind NaN and is taken one by one; of integers, eight at a time.
    """
    bits = x.view(np.int32)
    low = high = ordered(bits[0])
    for i in range(x.size):  # all of them: a row of 63 would end in scalar instructions
        key = ordered(bits[i])
        low, high = min(low, key), max(high, key)
    return np.int32(ordered(low)).view(np.float32), np.int32(ordered(high)).view(np.float32)


@inner
def ordered(bits: np.int32) -> np.int32:
    """Bits of a float32 as an integer that sorts as the float does; applied twice, the bits."""
    return np.int32(bits ^ np.int32(np.int32(bits >> 31) & _SIGN_DROPPED))


@kernel(READ_FLOATS, INTEGER, FLOAT_ROW, FLOAT_ROW, BYTES)
def plain(
    groups: NDArray[np.float32],
    bits: int,
    scales: NDArray[np.float32],
    biases: NDArray[np.float32],
    levels: NDArray[np.uint8],
) -> None:
    """groups float32[n, size] -> scales, biases float32[n] (not yet rounded), levels uint8."""
    top = np.float32((1 << bits) - 1)
    for g in range(groups.shape[0]):
        low, high = extremes(groups[g])
        scales[g], biases[g] = line(low, high, top)
        assign(groups[g], scales[g], biases[g], top, levels[g])


@kernel(READ_BYTES, READ_FLOAT_ROW, READ_FLOAT_ROW, FLOATS)
def decode(
    levels: NDArray[np.uint8],
    scales: NDArray[np.float32],
    biases: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """levels uint8[n, size], scales and biases float32[n] -> out float32[n, size]."""
    for g in range(levels.shape[0]):
        for i in range(levels.shape[1]):
            out[g, i] = np.float32(levels[g, i]) * scales[g] + biases[g]
