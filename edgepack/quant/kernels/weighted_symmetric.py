"""Q4_0 and Q5_0 where weights have importances: a search instead of plain rounding.

The search is that of Q6_K, and its levels are stored as they are.
It is compiled once for both, and only where it is used.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from edgepack.quant.kernels.compiler import BYTES, READ_FLOATS, kernel
from edgepack.quant.kernels.importance import load_weighted, row_variances
from edgepack.quant.kernels.lane_tiles import column
from edgepack.quant.kernels.lanes import LANES, put
from edgepack.quant.kernels.plain import put_levels
from edgepack.quant.kernels.scalars import put_half
from edgepack.quant.kernels.symmetric_search import fit_symmetric


@kernel(READ_FLOATS, READ_FLOATS, BYTES, types.float32)
def encode(
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
        load_weighted(blocks, importance, variances, first, tile, weight)
        put(scales, 0, fit_symmetric(tile, weight, levels, half))
        for lane in range(min(LANES, blocks.shape[0] - first)):
            block = out[first + lane]
            put_half(block, 0, scales[lane])
            low, high = column(levels, lane, 0), column(levels, lane, 1)
            put_levels(low, high, block[2:-16], block[-16:])
