"""Stored weights into float32, and their largest magnitude in the same pass.

Magnitudes are compared as bits: those of floats, without the sign, sort as the floats do, and
infinities and NaN sort above all numbers.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from edgepack.quant.kernels.compiler import FLOAT_ROW, READ_FLOAT_ROW, array, kernel

_HALVES = array(types.uint16, dimensions=1, readonly=True)
_SIGNLESS = np.int32(0x7FFFFFFF)


@kernel(_HALVES, FLOAT_ROW, FLOAT_ROW)
def brain(bits: NDArray[np.uint16], out: NDArray[np.float32], peak: NDArray[np.float32]) -> None:
    """bfloat16 bits[n] -> float32 out[n]; peak[0] = the largest magnitude."""
    wide, largest = out.view(np.int32), np.int32(0)
    for i in range(bits.size):
        value = np.int32(np.uint32(bits[i]) << 16)
        wide[i] = value
        largest = max(largest, np.int32(value & _SIGNLESS))
    peak[0] = np.int32(largest).view(np.float32)


@kernel(READ_FLOAT_ROW, FLOAT_ROW)
def magnitude(x: NDArray[np.float32], peak: NDArray[np.float32]) -> None:
    """peak[0] = the largest magnitude in x[n]."""
    bits, largest = x.view(np.int32), np.int32(0)
    for i in range(bits.size):
        largest = max(largest, np.int32(bits[i] & _SIGNLESS))
    peak[0] = np.int32(largest).view(np.float32)
