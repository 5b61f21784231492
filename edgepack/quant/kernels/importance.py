"""How importances of columns become weights of a search, and what their sub-blocks weigh.

llama.cpp counts an error at weight x of a column of importance c as c * sqrt(variance + x * x),
the variance being that of the super-block, or of the row where blocks stand alone.
"""

from __future__ import annotations

import numpy as np

from edgepack.quant.kernels.compiler import inner
from edgepack.quant.kernels.lane_tiles import Tile, sum_of_squares
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
