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
from edgepack.quant.kernels.lanes import (
    LANES,
    Lanes,
    equal,
    get,
    greatest,
    least,
    magnitude,
    put,
    put_bytes,
    rounded_to_even,
    select,
    splat,
)
from edgepack.quant.kernels.scalars import ZERO

LEAST_SCALE = np.float32(1e-7)
_ROUNDER = np.float32(1 << 23)


@inner
def line(low: Lanes, high: Lanes, top: np.float32) -> tuple[Lanes, Lanes]:
    """(scale, bias) of mx.quantize for weights within [low, high] and levels within [0, top]."""
    downward = magnitude(low) > magnitude(high)
    scale = (high - low) / top
    scale = select(scale > LEAST_SCALE, scale, LEAST_SCALE)
    scale, edge = select(downward, scale, -scale), select(downward, low, high)
    steps = rounded_to_even(edge / scale)
    unmoved = equal(steps, ZERO)
    return select(unmoved, scale, edge / steps), select(unmoved, ZERO, edge)


@inner
def assign(
    x: NDArray[np.float32],
    scale: np.float32,
    bias: np.float32,
    top: np.float32,
    levels: NDArray[np.uint8],
) -> None:
    """Nearest level of every element; ties go to the even one."""
    scales, biases = splat(scale), splat(bias)
    for k in range(x.size // LANES):
        put_bytes(levels, k, nearest_level((get(x, k) - biases) / scales, top))


@inner
def nearest_level(x: Lanes, top: np.float32) -> Lanes:
    """x held within [0, top] and rounded, ties to even."""
    level = select(x > ZERO, x, ZERO)
    level = select(level < top, level, top)
    return (level + _ROUNDER) - _ROUNDER


@inner
def extremes(x: NDArray[np.float32]) -> tuple[np.float32, np.float32]:
    """Least and greatest element."""
    low = high = get(x, 0)
    for k in range(1, x.size // LANES):
        part = get(x, k)
        low, high = select(part < low, part, low), select(part > high, part, high)
    return least(low), greatest(high)


@kernel(READ_FLOATS, INTEGER, FLOAT_ROW, FLOAT_ROW, BYTES)
def plain(
    groups: NDArray[np.float32],
    bits: int,
    scales: NDArray[np.float32],
    biases: NDArray[np.float32],
    levels: NDArray[np.uint8],
) -> None:
    """groups float32[n, size] -> scales, biases float32[n] (not yet rounded), levels uint8."""
    top, count = np.float32((1 << bits) - 1), groups.shape[0]
    low, high = np.zeros(LANES, np.float32), np.zeros(LANES, np.float32)
    for first in range(0, count, LANES):
        lanes = min(LANES, count - first)
        for lane in range(lanes):
            low[lane], high[lane] = extremes(groups[first + lane])
        scale, bias = line(get(low, 0), get(high, 0), top)
        put(low, 0, scale)
        put(high, 0, bias)
        for lane in range(lanes):
            g = first + lane
            scales[g], biases[g] = low[lane], high[lane]
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
