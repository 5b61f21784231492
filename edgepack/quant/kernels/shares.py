"""Scales of sub-blocks as whole multiples of their super-block's unit, which is stored once.

Values lie in a tile, scale s of every super-block in vector s; shares replace them, and the units
are returned. The `plain` functions make the farthest value the greatest multiple.
"""

from __future__ import annotations

import numpy as np

from edgepack.quant.kernels.compiler import inner
from edgepack.quant.kernels.lane_tiles import Tile, byte, farthest, peak, signed_byte
from edgepack.quant.kernels.lanes import LANES, Lanes, equal, get, nearest, put, select
from edgepack.quant.kernels.scalars import ONE, ZERO


@inner
def plain_shares(values: Tile, last: np.float32) -> Lanes:
    """Shares of positive values, `last` for the greatest; negative ones wrap as bytes do."""
    far = peak(values)
    inverse = select(far > ZERO, last / far, ZERO)
    for s in range(values.size // LANES):
        put(values, s, byte(nearest(inverse * get(values, s))))
    return far / last


@inner
def plain_signed_shares(values: Tile, half: np.float32) -> Lanes:
    """Shares in [-half, half), stored plus half; all 0 where every value is 0."""
    far = farthest(values)
    inverse, zero = -half / far, equal(far, ZERO)
    for s in range(values.size // LANES):
        share = signed_byte(nearest(inverse * get(values, s)))
        share = select(share > -half, share, -half)
        share = select(share > half - ONE, half - ONE, share) + half
        put(values, s, select(zero, ZERO, share))
    return select(zero, ZERO, ONE / inverse)
