"""Where every initializer lies in the data file: known before a weight is read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Literal

from edgepack.models import Weight
from edgepack.quant.encodings import Encoding
from edgepack.quant.nbits import BlockInts
from edgepack.quant.schemes import Assignment

ElementType = Literal["F32", "F16", "U8"]
ELEMENT_BYTES = {"F32": 4, "F16": 2, "U8": 1}
PAGE, LINE = 4096, 64  # a large tensor can be mapped by itself, a small one begins a cache line
LARGE = 1024 * 1024  # bytes


@dataclass(frozen=True, slots=True)
class Initializer:
    """One tensor of the graph; `offset` is in the data file."""

    name: str
    element: ElementType
    shape: tuple[int, ...]
    offset: int = 0

    @property
    def size(self) -> int:
        """Bytes."""
        return prod(self.shape) * ELEMENT_BYTES[self.element]

    @property
    def row_bytes(self) -> int:
        return self.size // self.shape[0]


Planes = tuple[Initializer, ...]  # one float tensor; or levels, scales, and zero points if any


@dataclass(frozen=True, slots=True)
class Layout:
    """The data file: every weight's tensors, and its size in bytes."""

    weights: dict[Weight, Planes]
    size: int

    @property
    def all(self) -> Planes:
        return tuple(plane for planes in self.weights.values() for plane in planes)


def layout(tensors: Iterable[Assignment]) -> Layout:
    """Place everything, in the order given."""
    end = 0

    def placed(planes: Iterable[Initializer]) -> Planes:
        nonlocal end
        found = []
        for plane in planes:
            alignment = PAGE if plane.size >= LARGE else LINE
            offset = -(-end // alignment) * alignment
            found.append(Initializer(plane.name, plane.element, plane.shape, offset))
            end = offset + plane.size
        return tuple(found)

    weights = {t.weight: placed(planes(t.weight, t.encoding)) for t in tensors}
    return Layout(weights, end)


def planes(weight: Weight, encoding: Encoding) -> Planes:
    """The initializers of one weight, not yet placed.

    Levels are [rows, blocks, bytes of a block], as MatMulNBits takes them.
    """
    if not isinstance(encoding, BlockInts):
        element: ElementType = "F16" if encoding.name == "F16" else "F32"
        return (Initializer(weight.name, element, weight.shape),)
    rows, columns = weight.shape
    blocks = encoding.blocks(columns)
    block_bytes = encoding.block * encoding.bits // 8
    found = (
        Initializer(weight.name, "U8", (rows, blocks, block_bytes)),
        Initializer(f"{weight.name}.scales", encoding.scale, (rows, blocks)),
    )
    if encoding.symmetric:
        return found
    packed = -(-blocks * encoding.bits // 8)
    return (*found, Initializer(f"{weight.name}.zeros", "U8", (rows, packed)))
