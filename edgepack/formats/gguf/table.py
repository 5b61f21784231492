"""The tensor table of a GGUF: read, then placed in the file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

from edgepack.formats.digests import TensorExtent
from edgepack.formats.gguf.cursor import Cursor
from edgepack.formats.gguf.layout import RETIRED, TENSOR_TYPES, TensorType

ENTRY_BYTES = 24  # the least an entry takes: name length, number of extents, type, offset
TENSOR_LIMIT = 1 << 18  # 61 layers of 256 experts, each tensor for itself, are 47,000
EXTENT_LIMIT = 4  # GGML_MAX_DIMS
ELEMENT_LIMIT = 1 << 63  # ggml counts elements in an int64


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the table; `offset` in bytes from where tensor data begins."""

    name: str
    kind: TensorType
    extents: tuple[int, ...]
    offset: int

    @property
    def size(self) -> int:
        """Bytes of the tensor."""
        return prod(self.extents) // self.kind.block * self.kind.block_bytes


def read_table(cursor: Cursor, count: int) -> list[Entry]:
    """The `count` entries at the cursor, each sound in itself, no two of one name."""
    entries: dict[str, Entry] = {}
    for index in range(count):
        cursor.subject = f"tensor {index + 1} of {count}"
        name = cursor.name()
        cursor.subject = f"tensor {name[:64]!r}"
        if name in entries:
            raise cursor.fault("is there twice; every name must be another")
        entries[name] = _entry(cursor, name)
    return list(entries.values())


def _entry(cursor: Cursor, name: str) -> Entry:
    dimensions = cursor.u32()
    if dimensions > EXTENT_LIMIT:
        raise cursor.fault(f"has {dimensions} dimensions; at most {EXTENT_LIMIT} are allowed")
    extents = tuple(cursor.u64() for _ in range(dimensions))
    number = cursor.u32()
    kind = TENSOR_TYPES.get(number)
    if kind is None:
        retired = RETIRED.get(number)
        what = f"{retired}, which ggml has given up" if retired else "which ggml does not have"
        raise cursor.fault(f"has type {number}, {what}; a type known today is required")
    shape = "x".join(map(str, extents))
    if prod(extent or 1 for extent in extents) >= ELEMENT_LIMIT:  # a 0 must not hide the others
        raise cursor.fault(f"has the shape {shape}; fewer than 2^63 elements are required")
    row = extents[0] if extents else 1
    if row % kind.block:
        raise cursor.fault(f"has rows of {row}; {kind.name} requires a multiple of {kind.block}")
    return Entry(name, kind, extents, cursor.u64())


def placed(
    cursor: Cursor, entries: Iterable[Entry], start: int, alignment: int
) -> tuple[TensorExtent, ...]:
    """The tensors in the order of the table, at their places in the file; data begins at `start`.

    Every one begins at a multiple of `alignment`, ends within the file, and touches no other.
    """
    tensors = []
    for entry in entries:
        cursor.subject = f"tensor {entry.name[:64]!r}"
        if entry.offset % alignment:
            raise cursor.fault(f"has offset {entry.offset}; a multiple of {alignment} is required")
        offset, size = start + entry.offset, entry.size
        if offset + size > cursor.size:
            raise cursor.fault(f"would reach to byte {offset + size} of a file of {cursor.size}")
        shape = "x".join(map(str, entry.extents))
        tensors.append(TensorExtent(entry.name, entry.kind.name, shape, offset, size))
    _refuse_overlap(cursor, tensors)
    return tuple(tensors)


def _refuse_overlap(cursor: Cursor, tensors: Iterable[TensorExtent]) -> None:
    end, before = 0, ""
    for tensor in sorted(tensors, key=lambda tensor: (tensor.offset, tensor.size)):
        if tensor.offset < end:
            cursor.subject = f"tensor {tensor.name[:64]!r}"
            raise cursor.fault(f"begins at {tensor.offset}, within {before!r}, which ends at {end}")
        end, before = tensor.offset + tensor.size, tensor.name[:64]
