"""How importances of columns become weights of a search, and what their sub-blocks weigh.

llama.cpp counts an error at weight x of a column of importance c as c * sqrt(variance + x * x),
the variance being that of the super-block, or of the row where blocks stand alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepack.quant.kernels.compiler import inner
from edgepack.quant.kernels.lane_tiles import Tile, fill, sum_of_squares
from edgepack.quant.kernels.lanes import LANES, Lanes, get, put, splat, square_root
from edgepack.quant.kernels.scalars import ZERO

TRIALS = (np.float32(-0.9), np.float32(0.05), 37)
"""Of the affine search."""


@inner
def variance(tile: Tile, factor: np.float32) -> Lanes:
    """factor * the mean of squares, of every block."""
    return factor * sum_of_squares(tile) / np.float32(tile.size // LANES)


@inner
def weigh(tile: Tile, weight: Tile, spread: Lanes, sums: Tile) -> None:
    """Turn importances into weights, given the variances, and sum those up for every sub-block."""
    width = tile.size // sums.size
    for s in range(sums.size // LANES):
        total = splat(ZERO)
        for i in range(width * s, width * s + width):
            x = get(tile, i)
            w = get(weight, i) * square_root(spread + x * x)
            put(weight, i, w)
            total += w
        put(sums, s, total)


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
def load_weighted(
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
