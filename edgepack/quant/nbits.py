"""`BlockInts`: levels of 4 or 8 bits in blocks with a scale each, as MatMulNBits reads them.

    weight = scale * (level - zero)

Layout (onnxruntime, docs/ContribOperators.md, com.microsoft.MatMulNBits): three planes. Levels are
packed along a row, the first in the low bits; zero points are packed likewise, and absent where all
of them are half of the levels: 8, or 128.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from edgepack.quant.encodings import Encoding

ScaleType = Literal["F32", "F16"]
_SCALE_BYTES: Final = {"F32": 4, "F16": 2}
_LARGEST: Final = {"F32": 3.4e38, "F16": 65504.0}
_SEARCHED: Final = {4: (4, 0.45), 8: (4, 1.0)}
"""Bits -> trials on either side of the plain scale, and the levels between two of them.

Of the squared error that a search removes, three times as many trials remove 2 % more."""
_STRETCH: Final = 0.7  # a searched scale is at most 1 / 0.7 of the plain one


@dataclass(frozen=True, slots=True)
class Planes:
    """`levels` uint8 [n, blocks, block x bits / 8], `scales` float [n, blocks], `zeros` uint8
    [n, blocks x bits / 8, rounded up] or None."""

    levels: NDArray[np.uint8]
    scales: NDArray[np.float32] | NDArray[np.float16]
    zeros: NDArray[np.uint8] | None


@dataclass(frozen=True, slots=True)
class BlockInts(Encoding):
    """Made by `block_ints`. A row that ends within a block is filled up with zeros."""

    bits: int
    symmetric: bool
    scale: ScaleType
    search: bool

    @property
    def bits_per_weight(self) -> float:
        zero = 0 if self.symmetric else self.bits
        return self.bits + (8 * _SCALE_BYTES[self.scale] + zero) / self.block

    def blocks(self, columns: int) -> int:
        """Blocks of one row, the last one perhaps not full."""
        return -(-columns // self.block)

    def plane_bytes(self, columns: int) -> tuple[int, int, int]:
        """Bytes of one row in each plane: levels, scales, zero points."""
        blocks = self.blocks(columns)
        zeros = 0 if self.symmetric else -(-blocks * self.bits // 8)
        return blocks * self.block * self.bits // 8, blocks * _SCALE_BYTES[self.scale], zeros

    def row_bytes(self, columns: int) -> int:
        """Bytes of one row in all planes; any number of columns will do."""
        return sum(self.plane_bytes(columns))

    def encode(self, rows: NDArray[np.float32]) -> Planes:
        """float32 [n, columns], all finite, into planes."""
        from edgepack.quant.kernels.block_ints import encode

        count, columns = rows.shape
        blocks = self.blocks(columns)
        levels = np.empty((count, blocks, self.block * self.bits // 8), np.uint8)
        scales = np.empty((count, blocks), np.float32)
        zeros = np.empty((count, blocks), np.uint8)
        reach, step = _SEARCHED[self.bits] if self.search else (0, 0.0)
        encode(
            np.ascontiguousarray(rows, np.float32),
            levels.reshape(count * blocks, -1), scales.reshape(-1), zeros.reshape(-1),
            self.bits, self.symmetric, self.scale == "F16", reach, np.float32(step),
        )  # fmt: skip
        stored = scales if self.scale == "F32" else scales.astype(np.float16)
        return Planes(levels, stored, None if self.symmetric else _packed(zeros, self.bits))

    def decode(self, planes: Planes, columns: int) -> NDArray[np.float32]:
        """Planes back into float32 [n, columns]."""
        from edgepack.quant.kernels.block_ints import decode

        count, blocks = planes.scales.shape
        zeros = np.full((count, blocks), 1 << (self.bits - 1), np.uint8)
        if planes.zeros is not None:
            zeros = _unpacked(planes.zeros, self.bits, blocks)
        rows = np.empty((count, columns), np.float32)
        levels = np.ascontiguousarray(planes.levels).reshape(count * blocks, -1)
        scales = planes.scales.astype(np.float32)
        decode(levels, scales.reshape(-1), zeros.reshape(-1), rows, self.bits)
        return rows


def block_ints(
    bits: int,
    group: int,
    *,
    symmetric: bool = True,
    scale: ScaleType = "F32",
    search: bool = True,
) -> BlockInts:
    """Levels of `bits` (4 or 8) in blocks of `group` (a power of two, 16 or more).

    `search` looks for the scale of least error instead of the one that just spans the block.
    """
    span = (1 << bits - 1) - 1 if symmetric else ((1 << bits) - 1) / 2
    widest = _LARGEST["F32"] if symmetric else _LARGEST["F32"] / 2  # from -x to x is 2 x
    return BlockInts(
        name=f"int{bits}-g{group}{'' if symmetric else '-asym'}",
        block=group,
        block_bytes=group * bits // 8 + _SCALE_BYTES[scale] + (0 if symmetric else 1),
        largest=min(widest, _STRETCH * span * _LARGEST[scale]),
        bits=bits,
        symmetric=symmetric,
        scale=scale,
        search=search,
    )


def _packed(zeros: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Zero points [n, blocks] as MatMulNBits packs them; beside an odd one out lies the middle."""
    if bits == 8:
        return zeros
    padded = np.pad(zeros, ((0, 0), (0, zeros.shape[1] % 2)), constant_values=8)
    return np.ascontiguousarray(padded[:, ::2] | padded[:, 1::2] << 4)


def _unpacked(packed: NDArray[np.uint8], bits: int, blocks: int) -> NDArray[np.uint8]:
    if bits == 8:
        return packed
    both = np.stack((packed & 15, packed >> 4), axis=-1)
    return np.ascontiguousarray(both.reshape(len(packed), -1)[:, :blocks])
