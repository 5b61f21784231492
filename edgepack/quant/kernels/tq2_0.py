"""TQ2_0: 256 weights, each -1, 0 or 1 times a float16 scale, as 2-bit digits 0, 1, 2.

Layout: digits[64] d[2]; weight = d * (digit - 1).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepack.quant.kernels.compiler import decoder, encoder
from edgepack.quant.kernels.crumbs import get_crumb, put_crumbs
from edgepack.quant.kernels.scalars import get_half, put_half
from edgepack.quant.kernels.ternary import assign


@encoder
def encode(
    blocks: NDArray[np.float32], importance: NDArray[np.float32], out: NDArray[np.uint8]
) -> None:
    """blocks float32[n, 256] -> out uint8[n, 66]; importance changes nothing."""
    digits = np.empty(256, np.float32)
    for b in range(blocks.shape[0]):
        put_half(out[b], 64, assign(blocks[b], digits))
        put_crumbs(digits, out[b, :64])


@decoder
def decode(blocks: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
    """blocks uint8[n, 66] -> out float32[n, 256]."""
    for b in range(blocks.shape[0]):
        scale = get_half(blocks[b], 64)
        for i in range(256):
            out[b, i] = np.float32(np.int32(get_crumb(blocks[b], i)) - 1) * scale
