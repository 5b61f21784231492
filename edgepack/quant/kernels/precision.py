"""Which float type a number will be stored in, or was calculated in."""

from __future__ import annotations

import numpy as np

from edgepack.quant.kernels.compiler import inner
from edgepack.quant.kernels.scalars import brain_bits, brain_value, half_bits, half_value

F32, F16, BF16 = 0, 1, 2


@inner
def rounded(x: np.float32, precision: int) -> np.float32:
    """x as that type holds it: ties to even, subnormals kept."""
    if precision == BF16:
        return brain_value(brain_bits(x))
    if precision == F16:
        return half_value(half_bits(x))
    return np.float32(x)
