"""Tiles: sixteen blocks side by side, and what sixteen blocks have to be asked first.

A tile is a flat array of vectors, of which vector i has element i of every block. tile[at(i) :
at(j)] are elements i to j.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepack.quant.kernels.compiler import inner
from edgepack.quant.kernels.lanes import (
    LANES,
    Lanes,
    floor,
    get,
    magnitude,
    nearest,
    select,
    splat,
)
from edgepack.quant.kernels.scalars import ZERO

Tile = NDArray[np.float32]

_BYTE, _HALF_BYTE = np.float32(256), np.float32(128)


@inner
def fill(rows: NDArray[np.float32], first: int, tile: Tile) -> None:
    """Lay rows[first], rows[first + 1], ... side by side; behind the last row, the first again."""
    count, elements = rows.shape
    for lane in range(LANES):
        row = rows[(first + lane) % count]
        for i in range(elements):
            tile[LANES * i + lane] = row[i]


@inner
def column(tile: Tile, lane: int, k: int) -> Lanes:
    """Elements 16 k to 16 k + 15 of one block."""
    part = np.empty(LANES, np.float32)
    for i in range(LANES):
        part[i] = tile[LANES * (LANES * k + i) + lane]
    return get(part, 0)


@inner
def nearest_between(x: Lanes, low: np.float32, high: np.float32) -> Lanes:
    """`nearest(x)` held within [low, high]."""
    level = nearest(x)
    level = select(level > low, level, low)
    return select(level > high, high, level)


@inner
def byte(x: Lanes) -> Lanes:
    """What C's uint8_t makes of an integer: the rest of a division by 256."""
    return x - _BYTE * floor(x / _BYTE)


@inner
def signed_byte(x: Lanes) -> Lanes:
    """What C's int8_t makes of an integer."""
    return byte(x + _HALF_BYTE) - _HALF_BYTE


@inner
def extremes(tile: Tile) -> tuple[Lanes, Lanes]:
    """Least and greatest element of every block."""
    low = high = get(tile, 0)
    for i in range(1, tile.size // LANES):
        x = get(tile, i)
        low = select(x < low, x, low)
        high = select(x > high, x, high)
    return low, high


@inner
def peak(tile: Tile) -> Lanes:
    """The greatest positive element of every block, or 0."""
    greatest = splat(ZERO)
    for i in range(tile.size // LANES):
        x = get(tile, i)
        greatest = select(x > greatest, x, greatest)
    return greatest


@inner
def farthest(tile: Tile) -> Lanes:
    """The element of largest magnitude, with its sign, of every block; of equals, the first."""
    size, element = splat(ZERO), splat(ZERO)
    for i in range(tile.size // LANES):
        x = get(tile, i)
        farther = magnitude(x) > size
        size = select(farther, magnitude(x), size)
        element = select(farther, x, element)
    return element


@inner
def sum_of_squares(tile: Tile) -> Lanes:
    """Of every block, in the order of its elements."""
    total = splat(ZERO)
    for i in range(tile.size // LANES):
        x = get(tile, i)
        total += x * x
    return total
