"""Blocks of 4-bit or 8-bit levels with a scale each, and a zero point each where it may move.

weight = scale * (level - zero),  0 <= level < 2 ** bits
"""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from edgepack.quant.kernels.compiler import (
    BYTE_ROW,
    BYTES,
    FLOAT_ROW,
    FLOATS,
    INTEGER,
    READ_BYTE_ROW,
    READ_BYTES,
    READ_FLOAT_ROW,
    READ_FLOATS,
    inner,
    kernel,
)
from edgepack.quant.kernels.scalars import ZERO, reciprocal
from edgepack.quant.kernels.tiles import LANES, measure, nearest_level, search, start


@inner
def load(row: NDArray[np.float32], begin: int, line: NDArray[np.float32]) -> None:
    """row[begin:] into line, and zeros where the row has ended."""
    part = row[begin : begin + line.size]  # a loop over it needs no check for negative indices
    length = part.size
    for i in range(length):
        line[i] = part[i]
    for i in range(length, line.size):
        line[i] = ZERO


@inner
def put_levels(
    line: NDArray[np.float32],
    inverse: np.float32,
    zero: np.float32,
    top: np.float32,
    out: NDArray[np.uint8],
) -> None:
    """Nearest levels of line into out: a byte each, or two to a byte, the first in the low half."""
    if out.size == line.size:
        for i in range(line.size):
            out[i] = np.uint8(np.int32(nearest_level(line[i] * inverse + zero, top)))
    else:
        for i in range(out.size):
            even = nearest_level(line[2 * i] * inverse + zero, top)
            odd = nearest_level(line[2 * i + 1] * inverse + zero, top)
            out[i] = np.uint8(np.int32(even + np.float32(16) * odd))


@kernel(
    READ_FLOATS, BYTES, FLOAT_ROW, BYTE_ROW,
    INTEGER, types.boolean, types.boolean, INTEGER, types.float32,
)  # fmt: skip
def encode(
    rows: NDArray[np.float32],
    levels: NDArray[np.uint8],
    scales: NDArray[np.float32],
    zeros: NDArray[np.uint8],
    bits: int,
    symmetric: bool,
    halved: bool,
    reach: int,
    step: np.float32,
) -> None:
    """Encode float32[n, columns] into blocks: levels[blocks, block * bits / 8], scales, zeros.

    Each row begins a block, and fills up its last one with zeros. `symmetric` keeps every zero
    point at half of the levels; `halved` rounds scales to float16. With `reach` 0 levels are
    rounded to nearest; else 2 * reach + 1 scales, `step` levels apart around the plain one, are
    tried for each block (see tiles.search).
    """
    blocks, total = scales.size // rows.shape[0], scales.size
    block = levels.shape[1] * 8 // bits
    top, half = np.float32((1 << bits) - 1), np.float32(1 << (bits - 1))
    steps = -half if symmetric else top
    tile, line = np.zeros((block, LANES), np.float32), np.zeros(block, np.float32)
    low, span = np.empty(LANES, np.float32), np.empty(LANES, np.float32)
    scale, zero = np.empty(LANES, np.float32), np.empty(LANES, np.float32)
    # seven arrays, not one of seven rows: LLVM makes vectors only of what it can tell apart
    scratch = (
        np.empty(LANES, np.float32),
        np.empty(LANES, np.float32),
        np.empty(LANES, np.float32),
        np.empty(LANES, np.float32),
        np.empty(LANES, np.float32),
        np.empty(LANES, np.float32),
        np.empty(LANES, np.float32),
    )
    for first in range(0, total, LANES):
        count = min(LANES, total - first)
        for lane in range(count):
            at = first + lane
            load(rows[at // blocks], at % blocks * block, line)
            for i in range(block):
                tile[i, lane] = line[i]
        measure(tile, symmetric, low, span)
        start(low, span, steps, symmetric, top, halved, scale, zero)
        if reach > 0:
            trials = (steps, step, reach)
            search(tile, low, span, trials, symmetric, top, halved, scale, zero, scratch)
        for lane in range(count):
            at = first + lane
            scales[at], zeros[at] = scale[lane], np.uint8(np.int32(zero[lane]))
            load(rows[at // blocks], at % blocks * block, line)
            put_levels(line, reciprocal(scale[lane]), zero[lane], top, levels[at])


@kernel(READ_BYTES, READ_FLOAT_ROW, READ_BYTE_ROW, FLOATS, INTEGER)
def decode(
    levels: NDArray[np.uint8],
    scales: NDArray[np.float32],
    zeros: NDArray[np.uint8],
    rows: NDArray[np.float32],
    bits: int,
) -> None:
    """The blocks of `encode` back into float32[n, columns]."""
    blocks = scales.size // rows.shape[0]
    block = levels.shape[1] * 8 // bits
    for row in range(rows.shape[0]):
        for i in range(rows.shape[1]):
            at, inside = row * blocks + i // block, i % block
            byte = levels[at, inside * bits // 8]
            level = np.int32(byte if bits == 8 else (byte >> (4 * (inside & 1))) & 15)
            rows[row, i] = np.float32(level - np.int32(zeros[at])) * scales[at]
