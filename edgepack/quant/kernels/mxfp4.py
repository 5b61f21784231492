"""MXFP4: 32 weights as 4-bit floats (E2M1) that share a power of two (OCP Microscaling 1.0).

Layout: e[1] nibbles[16]; weight = 2^(e - 128) * VALUES[code], where VALUES are twice the floats.
The low half of nibble byte j is the code of weight j, the high half that of weight j + 16.
"""

from __future__ import annotations

from math import log2

import numpy as np
from numpy.typing import NDArray

from edgepack.quant.kernels.compiler import decoder, encoder, inner
from edgepack.quant.kernels.lanes import (
    Lanes,
    get,
    greatest,
    magnitude,
    put_bytes,
    select,
    splat,
)
from edgepack.quant.kernels.scalars import ZERO

VALUES = np.array((0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12), np.float32)
_SIXTEEN = np.float32(16)
_BIAS = 125  # of a float's exponent, less the exponent of the greatest value, 8


@inner
def stored_exponent(peak: np.float32) -> np.uint8:
    """The exponent of the peak, two below which is the block's; of subnormal ones, what wraps."""
    if peak == ZERO:
        return np.uint8(0)
    # rounded to float32 first, as the reference does: just below a power of two it rounds up
    return np.uint8(np.int32(np.floor(np.float32(log2(np.float64(peak))))) + _BIAS)


@inner
def unit(exponent: np.uint8) -> np.float32:
    """2^(exponent - 128), the first two of which are subnormal."""
    if exponent < 2:
        return np.int32(0x200000 << exponent).view(np.float32)
    return np.int32((np.int32(exponent) - 1) << 23).view(np.float32)


@inner
def nearest_codes(x: Lanes, scale: np.float32) -> Lanes:
    """Of every weight the code with the least error, and of equals the first."""
    code, least = splat(ZERO), magnitude(x)
    for k in range(1, 16):
        error = magnitude(VALUES[k] * scale - x)
        closer = error < least
        code = select(closer, np.float32(k), code)
        least = select(closer, error, least)
    return code


@encoder
def encode(
    blocks: NDArray[np.float32], importance: NDArray[np.float32], out: NDArray[np.uint8]
) -> None:
    """blocks float32[n, 32] -> out uint8[n, 17]; importance changes nothing."""
    for b in range(blocks.shape[0]):
        first, second = get(blocks[b], 0), get(blocks[b], 1)
        one, other = magnitude(first), magnitude(second)
        exponent = stored_exponent(greatest(select(one > other, one, other)))
        out[b, 0] = exponent
        scale = unit(exponent)
        codes = nearest_codes(first, scale) + _SIXTEEN * nearest_codes(second, scale)
        put_bytes(out[b, 1:17], 0, codes)


@decoder
def decode(blocks: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
    """blocks uint8[n, 17] -> out float32[n, 32]."""
    for b in range(blocks.shape[0]):
        y, x = blocks[b], out[b]
        scale = unit(y[0])
        for i in range(16):
            x[i] = scale * VALUES[y[1 + i] & 15]
            x[i + 16] = scale * VALUES[y[1 + i] >> 4]
