"""Encodings of MLX: levels, scales and biases of a tensor lie in planes of their own.

A plane is a tensor in its own right. What `encode` gives is those planes' rows as bytes,
uint8[n, row bytes], in the order of `planes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepack.errors import DamagedInput
from edgepack.models.decoder import DType
from edgepack.quant.encodings import ENCODINGS, Encoding

Bytes = NDArray[np.uint8]

BITS = (2, 3, 4, 5, 6, 8)
GROUPS = (32, 64, 128)
ITEM_BYTES = {"U8": 1, "U32": 4, "F16": 2, "BF16": 2, "F32": 4}
_PRECISIONS: dict[DType, int] = {"F32": 0, "F16": 1, "BF16": 2}


@dataclass(frozen=True, slots=True)
class Plane:
    """One tensor among those that store a weight: `weight`, `scales` or `biases`.

    `dtype` is safetensors' name, `columns` counts elements of it in a row.
    """

    suffix: str
    dtype: str
    columns: int

    @property
    def row_bytes(self) -> int:
        return self.columns * ITEM_BYTES[self.dtype]


@dataclass(frozen=True, slots=True)
class GroupAffine(Encoding):
    """weight = scale * level + bias for groups of `block` weights in a row.

    Levels of `bits` bits are packed lowest first into uint32; scales and biases are of `dtype`.
    `plain` rounds as mx.quantize does, to the same bits; otherwise scale and bias are searched.
    """

    bits: int
    dtype: DType
    plain: bool

    def planes(self, columns: int) -> tuple[Plane, ...]:
        """Raises Unsupported if `columns` is not a whole number of groups."""
        self.row_bytes(columns)
        groups = columns // self.block
        return (
            Plane("weight", "U32", columns * self.bits // 32),
            Plane("scales", self.dtype, groups),
            Plane("biases", self.dtype, groups),
        )

    def encode(self, rows: NDArray[np.float32]) -> tuple[Bytes, ...]:
        """float32[n, columns] -> levels, scales, biases. Raises Unsupported as `planes` does."""
        count, columns = rows.shape
        planes = self.planes(columns)
        groups = np.ascontiguousarray(rows, np.float32).reshape(-1, self.block)
        scales, biases = np.empty(len(groups), np.float32), np.empty(len(groups), np.float32)
        levels = np.empty(groups.shape, np.uint8)
        if self.plain:
            from edgepack.quant.kernels import group_affine

            group_affine.plain(groups, self.bits, scales, biases, levels)
        else:
            from edgepack.quant.kernels import group_search

            precision = _PRECISIONS[self.dtype]
            group_search.search(groups, self.bits, precision, scales, biases, levels)
        stored = ENCODINGS[self.dtype]
        return (
            _packed(levels.reshape(count, columns), self.bits),
            stored.encode(scales.reshape(count, planes[1].columns)),
            stored.encode(biases.reshape(count, planes[2].columns)),
        )

    def decode(self, planes: Sequence[Bytes], columns: int) -> NDArray[np.float32]:
        """Levels, scales, biases -> float32[n, columns].

        Raises Unsupported as `planes` does, DamagedInput for planes of other lengths.
        """
        from edgepack.quant.kernels import group_affine

        _check(self.name, self.planes(columns), planes)
        levels = _unpacked(planes[0], self.bits, columns).reshape(-1, self.block)
        stored = ENCODINGS[self.dtype]
        scales, biases = (
            stored.decode(plane, columns // self.block).reshape(-1) for plane in planes[1:]
        )
        out = np.empty(levels.shape, np.float32)
        group_affine.decode(levels, scales, biases, out)
        return out.reshape(-1, columns)


@dataclass(frozen=True, slots=True)
class Mxfp4(Encoding):
    """weight = 2^exponent * a 4-bit float, in groups of 32.

    `dtype` is the type of the model, in which mx.quantize, and `plain`, calculate the exponent;
    otherwise the exponents beside it are tried too.
    """

    dtype: DType
    plain: bool

    def planes(self, columns: int) -> tuple[Plane, ...]:
        """Raises Unsupported if `columns` is not a whole number of groups."""
        self.row_bytes(columns)
        return (
            Plane("weight", "U32", columns // 8),
            Plane("scales", "U8", columns // self.block),
        )

    def encode(self, rows: NDArray[np.float32]) -> tuple[Bytes, ...]:
        """float32[n, columns] -> codes, exponents. Raises Unsupported as `planes` does."""
        from edgepack.quant.kernels import group_mxfp4

        count, columns = rows.shape
        planes = self.planes(columns)
        groups = np.ascontiguousarray(rows, np.float32).reshape(-1, self.block)
        scales, codes = np.empty(len(groups), np.uint8), np.empty(groups.shape, np.uint8)
        encode = group_mxfp4.plain if self.plain else group_mxfp4.search
        encode(groups, _PRECISIONS[self.dtype], scales, codes)
        return (
            _packed(codes.reshape(count, columns), 4),
            scales.reshape(count, planes[1].columns),
        )

    def decode(self, planes: Sequence[Bytes], columns: int) -> NDArray[np.float32]:
        """Codes, exponents -> float32[n, columns]. Raises as GroupAffine's does."""
        from edgepack.quant.kernels import group_mxfp4

        _check(self.name, self.planes(columns), planes)
        codes = _unpacked(planes[0], 4, columns).reshape(-1, self.block)
        out = np.empty(codes.shape, np.float32)
        group_mxfp4.decode(codes, np.ascontiguousarray(planes[1]).reshape(-1), out)
        return out.reshape(-1, columns)


def group_affine(bits: int, group: int, dtype: DType, *, plain: bool = False) -> GroupAffine:
    """The encoding that mx.quantize(group_size=group, bits=bits) gives weights of `dtype`."""
    size = group * bits // 8 + 2 * ITEM_BYTES[dtype]
    # A group's range, high - low, must itself be finite.
    largest = min(1.6e38, ENCODINGS[dtype].largest)
    return GroupAffine(f"{bits}bit-g{group}", group, size, largest, bits, dtype, plain)


def mxfp4(dtype: DType, *, plain: bool = False) -> Mxfp4:
    """The encoding that mx.quantize(mode="mxfp4") gives weights of `dtype`."""
    return Mxfp4("mxfp4", 32, 17, ENCODINGS[dtype].largest, dtype, plain)


def _packed(levels: Bytes, bits: int) -> Bytes:
    """uint8[n, columns] -> uint8[n, columns * bits / 8]."""
    from edgepack.quant.kernels import bit_packing

    out = np.empty((levels.shape[0], levels.shape[1] * bits // 8), np.uint8)
    bit_packing.pack(levels, bits, out)
    return out


def _unpacked(packed: Bytes, bits: int, columns: int) -> Bytes:
    """uint8[n, columns * bits / 8] -> uint8[n, columns]."""
    from edgepack.quant.kernels import bit_packing

    out = np.empty((packed.shape[0], columns), np.uint8)
    bit_packing.unpack(np.ascontiguousarray(packed), bits, out)
    return out


def _check(name: str, required: Sequence[Plane], found: Sequence[Bytes]) -> None:
    """As many planes as there should be, each with rows of the right length, and as many."""
    wanted = [plane.row_bytes for plane in required]
    lengths = [plane.shape[1] for plane in found]
    if lengths != wanted or len({plane.shape[0] for plane in found}) != 1:
        raise DamagedInput(
            f"a weight in {name} has rows of {lengths} bytes, not {wanted}, or not as many of each",
            "the tensor's planes disagree: fetch or write the file again",
        )
