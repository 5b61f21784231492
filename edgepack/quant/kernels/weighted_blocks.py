"""Q4_0, Q4_1, Q5_0 and Q5_1 where weights have importances: a search instead of plain rounding.

Blocks have 32 weights; the searches are those of Q3_K and Q4_K, and their levels are stored as
they are. Both functions take what an encoder takes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepack.quant.kernels.affine_search import fit_affine
from edgepack.quant.kernels.compiler import inner
from edgepack.quant.kernels.importance import TRIALS, weigh
from edgepack.quant.kernels.lane_tiles import Tile, column, fill
from edgepack.quant.kernels.lanes import LANES, get, put
from edgepack.quant.kernels.plain import put_levels
from edgepack.quant.kernels.scalars import ZERO, put_half
from edgepack.quant.kernels.symmetric_search import fit_symmetric


@inner
def row_variances(
    blocks: NDArray[np.float32], importance: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The mean of squares of every row, summed up in the order of its weights."""
    per_row = importance.shape[0]
    variances = np.empty(blocks.shape[0] // per_row, np.float32)
    for r in range(variances.size):
        row, total = blocks[per_row * r : per_row * r + per_row].reshape(-1), ZERO
        for j in range(row.size):
            total += row[j] * row[j]
        variances[r] = total / np.float32(row.size)
    return variances


@inner
def load(
    blocks: NDArray[np.float32],
    importance: NDArray[np.float32],
    variances: NDArray[np.float32],
    first: int,
    tile: Tile,
    weight: Tile,
) -> None:
    """Lay sixteen blocks and their weights side by side."""
    spread, sums = np.empty(LANES, np.float32), np.empty(LANES, np.float32)
    for lane in range(LANES):
        spread[lane] = variances[(first + lane) // importance.shape[0] % variances.size]
    fill(blocks, first, tile)
    fill(importance, first, weight)
    weigh(tile, weight, get(spread, 0), sums)


@inner
def encode_symmetric(
    blocks: NDArray[np.float32],
    importance: NDArray[np.float32],
    out: NDArray[np.uint8],
    half: np.float32,
) -> None:
    """blocks float32[n, 32] -> out uint8[n, 2 + fifth bits + 16]."""
    tile, weight = np.empty(32 * LANES, np.float32), np.empty(32 * LANES, np.float32)
    levels, scales = np.empty(32 * LANES, np.float32), np.empty(LANES, np.float32)
    variances = row_variances(blocks, importance)
    for first in range(0, blocks.shape[0], LANES):
        load(blocks, importance, variances, first, tile, weight)
        put(scales, 0, fit_symmetric(tile, weight, levels, half))
        for lane in range(min(LANES, blocks.shape[0] - first)):
            block = out[first + lane]
            put_half(block, 0, scales[lane])
            low, high = column(levels, lane, 0), column(levels, lane, 1)
            put_levels(low, high, block[2:-16], block[-16:])


@inner
def encode_affine(
    blocks: NDArray[np.float32],
    importance: NDArray[np.float32],
    out: NDArray[np.uint8],
    top: np.float32,
) -> None:
    """blocks float32[n, 32] -> out uint8[n, 4 + fifth bits + 16]."""
    tile, weight = np.empty(32 * LANES, np.float32), np.empty(32 * LANES, np.float32)
    levels, numbers = np.empty(32 * LANES, np.float32), np.empty(2 * LANES, np.float32)
    variances = row_variances(blocks, importance)
    for first in range(0, blocks.shape[0], LANES):
        load(blocks, importance, variances, first, tile, weight)
        scale, offset = fit_affine(tile, weight, levels, top, TRIALS, False)
        put(numbers, 0, scale)
        put(numbers, 1, -offset)
        for lane in range(min(LANES, blocks.shape[0] - first)):
            block = out[first + lane]
            put_half(block, 0, numbers[lane])
            put_half(block, 2, numbers[LANES + lane])
            low, high = column(levels, lane, 0), column(levels, lane, 1)
            put_levels(low, high, block[4:-16], block[-16:])
