"""IQ4_NL: 32 weights as a float16 scale and 4-bit levels that name unevenly spaced values.

Layout: d[2] nibbles[16]; weight = d * VALUES[level].
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepack.quant.kernels.compiler import decoder, encoder
from edgepack.quant.kernels.importance import weigh
from edgepack.quant.kernels.lane_tiles import fill, sum_of_squares
from edgepack.quant.kernels.lanes import LANES, put
from edgepack.quant.kernels.nonlinear import VALUES, fit_nonlinear, put_levels
from edgepack.quant.kernels.scalars import get_half, put_half, reciprocal
from edgepack.quant.kernels.symmetric_search import square

_SPREAD = np.float32(2 / 32)


@encoder
def encode(
    blocks: NDArray[np.float32], importance: NDArray[np.float32], out: NDArray[np.uint8]
) -> None:
    """blocks float32[n, 32] -> out uint8[n, 18]."""
    tile, weight = np.empty(32 * LANES, np.float32), np.empty(32 * LANES, np.float32)
    scales, sums = np.empty(LANES, np.float32), np.empty(LANES, np.float32)
    for first in range(0, blocks.shape[0], LANES):
        fill(blocks, first, tile)
        if importance.shape[0]:
            fill(importance, first, weight)
            weigh(tile, weight, _SPREAD * sum_of_squares(tile), sums)
        else:
            square(tile, weight)
        put(scales, 0, fit_nonlinear(tile, weight))
        for lane in range(min(LANES, blocks.shape[0] - first)):
            block = out[first + lane]
            put_half(block, 0, scales[lane])
            put_levels(blocks[first + lane], 0, reciprocal(scales[lane]), block[2:18])


@decoder
def decode(blocks: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
    """blocks uint8[n, 18] -> out float32[n, 32]."""
    for b in range(blocks.shape[0]):
        y, x = blocks[b], out[b]
        scale = get_half(y, 0)
        for i in range(16):
            x[i] = scale * VALUES[y[2 + i] & 15]
            x[i + 16] = scale * VALUES[y[2 + i] >> 4]
