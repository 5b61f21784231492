"""What TQ1_0 and TQ2_0 share: 256 weights, each -1, 0 or 1 times a scale."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepack.quant.kernels.compiler import inner
from edgepack.quant.kernels.lanes import get, greatest, magnitude, put, select, splat
from edgepack.quant.kernels.scalars import ONE, ZERO, reciprocal

_HALF, _LIMIT = np.float32(0.5), np.float32(2)


@inner
def assign(x: NDArray[np.float32], digits: NDArray[np.float32]) -> np.float32:
    """The scale, and digits float32[256], 0 to 2: the nearest one, halves away from the middle."""
    peak = splat(ZERO)
    for k in range(16):
        size = magnitude(get(x, k))
        peak = select(size > peak, size, peak)
    scale = greatest(peak)
    inverse = reciprocal(scale)
    for k in range(16):
        share = inverse * get(x, k)
        # the reciprocal of a tiny scale is infinite: that counts as the middle
        away = (magnitude(share) >= _HALF) & (magnitude(share) < _LIMIT)
        outer = select(share > ZERO, ONE, -ONE)
        put(digits, k, ONE + select(away, outer, ZERO))
    return scale
