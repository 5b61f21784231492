"""The search of block_ints: for many blocks at once, the scale that reproduces each one best.

Blocks lie side by side: the same element of LANES of them is one row of a tile. Every sum then
belongs to one lane, so that loops over lanes become vector instructions without any sum being
reordered, and every machine finds the same scales.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepack.quant.kernels.compiler import inner
from edgepack.quant.kernels.scalars import ZERO, half_bits, half_value, reciprocal

LANES = 64
_BELOW_HALF = np.nextafter(np.float32(0.5), ZERO)

Tile = NDArray[np.float32]
"""float32[block, LANES]: element i of every block in row i."""
Lanes = NDArray[np.float32]
"""float32[LANES]: one number per block."""


@inner
def nearest_level(x: np.float32, top: np.float32) -> np.float32:
    """x held within [0, top] and rounded, ties up; branch-free, unlike scalars.nearest_away."""
    held = x if x > ZERO else ZERO
    held = held if held < top else top
    return np.float32(np.int32(held + _BELOW_HALF))


@inner
def measure(tile: Tile, symmetric: bool, low: Lanes, span: Lanes) -> None:
    """Fill low and span: the least element and the range, 0 being within both.

    The span of a symmetric block is its farthest element, with its sign: that goes to the lowest
    level, since there is one negative level more than positive ones.
    """
    for lane in range(LANES):
        low[lane] = span[lane] = ZERO
    for i in range(tile.shape[0]):
        for lane in range(LANES):
            x = tile[i, lane]
            low[lane] = x if x < low[lane] else low[lane]
            span[lane] = x if x > span[lane] else span[lane]
    for lane in range(LANES):
        if symmetric:
            span[lane] = span[lane] if span[lane] > -low[lane] else low[lane]
        else:
            span[lane] -= low[lane]


@inner
def start(
    low: Lanes,
    span: Lanes,
    steps: np.float32,
    symmetric: bool,
    top: np.float32,
    halved: bool,
    scale: Lanes,
    zero: Lanes,
) -> None:
    """The plain scale, with the span covering `steps` levels, and the plain zero point."""
    for lane in range(LANES):
        exact = span[lane] / steps
        scale[lane] = half_value(half_bits(exact)) if halved else exact
        if symmetric:
            zero[lane] = -steps
        else:
            zero[lane] = nearest_level(-low[lane] / exact if exact != ZERO else ZERO, top)


@inner
def project(
    tile: Tile, inverse: Lanes, zero: Lanes, top: np.float32, along: Lanes, across: Lanes
) -> None:
    """Sums of x * q and of q * q, where q = level - zero."""
    for lane in range(LANES):
        along[lane] = across[lane] = ZERO
    for i in range(tile.shape[0]):
        for lane in range(LANES):
            x = tile[i, lane]
            q = nearest_level(x * inverse[lane] + zero[lane], top) - zero[lane]
            along[lane] += x * q
            across[lane] += q * q


@inner
def error(
    tile: Tile, scale: Lanes, inverse: Lanes, zero: Lanes, top: np.float32, total: Lanes
) -> None:
    """Sum of (x - scale * q)^2 with the levels that will be written; fills inverse too."""
    for lane in range(LANES):
        total[lane], inverse[lane] = ZERO, reciprocal(scale[lane])
    for i in range(tile.shape[0]):
        for lane in range(LANES):
            x = tile[i, lane]
            q = nearest_level(x * inverse[lane] + zero[lane], top) - zero[lane]
            off = x - scale[lane] * q
            total[lane] += off * off


@inner
def search(
    tile: Tile,
    low: Lanes,
    span: Lanes,
    trials: tuple[np.float32, np.float32, int],
    symmetric: bool,
    top: np.float32,
    halved: bool,
    scale: Lanes,
    zero: Lanes,
    scratch: tuple[Lanes, Lanes, Lanes, Lanes, Lanes, Lanes, Lanes],
) -> None:
    """Replace scale and zero by those of least squared error.

    Every weight counts alike: without activations to weigh by, that is what least disturbs a
    product. On fixtures/reasoner it did better than weights that count as their squares or sizes.

    Every trial assigns levels, which give the best scale for them in closed form. Of all trials
    the best one is compared, as it will be stored, with the plain one, and taken if it is better.
    """
    steps, step, reach = trials
    inverse, offset, along, across, best, found, kept = scratch
    for lane in range(LANES):
        best[lane], found[lane], kept[lane] = ZERO, scale[lane], zero[lane]
        offset[lane] = zero[lane]
    for k in range(-reach, reach + 1):
        for lane in range(LANES):
            inverse[lane] = (steps + step * np.float32(k)) * reciprocal(span[lane])
            if not symmetric:
                offset[lane] = nearest_level(-low[lane] * inverse[lane], top)
        project(tile, inverse, offset, top, along, across)
        for lane in range(LANES):
            ratio = along[lane] / across[lane]
            gain = ratio * along[lane]  # by how much the squared error is less than all of x
            better = gain > best[lane]
            best[lane] = gain if better else best[lane]
            found[lane] = ratio if better else found[lane]
            kept[lane] = offset[lane] if better else kept[lane]
    for lane in range(LANES):
        found[lane] = half_value(half_bits(found[lane])) if halved else found[lane]
    error(tile, scale, inverse, zero, top, along)
    error(tile, found, inverse, kept, top, across)
    for lane in range(LANES):
        if across[lane] < along[lane]:
            scale[lane], zero[lane] = found[lane], kept[lane]
