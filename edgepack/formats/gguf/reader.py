"""Reading the head of a GGUF, whoever wrote it, with every bound checked.

It is read in one pass of our own: gguf-py makes an object for every token of a vocabulary,
and needs seconds for what takes a tenth of one here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from edgepack.formats.digests import TensorExtent
from edgepack.formats.gguf.cursor import Cursor, damaged
from edgepack.formats.gguf.layout import (
    ALIGNMENT,
    ALIGNMENT_KEY,
    MAGIC,
    ValueType,
    padded,
)
from edgepack.formats.gguf.table import ENTRY_BYTES, TENSOR_LIMIT, placed, read_table
from edgepack.formats.gguf.values import Array, Stored, read_type, read_value

__all__ = ["Array", "Head", "Stored", "read_head"]

VERSIONS = (2, 3)  # 3 only added big-endian files; 1 had lengths of 32 bits
PAIR_BYTES = 13  # the least a pair takes: key length, type, one byte of value
PAIR_LIMIT = 1 << 16  # a model has some fifty


@dataclass(frozen=True, slots=True)
class Head:
    """What stands before the tensors of a GGUF.

    `values` in the file's order, arrays as `Array`; `kinds` the types they are stored in; `tensors`
    in the table's order, at absolute offsets; tensor data begins at `data_offset` bytes.
    """

    version: int
    values: Mapping[str, Stored]
    kinds: Mapping[str, ValueType]
    tensors: tuple[TensorExtent, ...]
    data_offset: int


def read_head(path: Path) -> Head:
    """Read the head of `path` and nothing of its tensors; every tensor then lies in the file.

    Raises DamagedInput for everything that breaks the format, and for a file that is not one.
    """
    try:
        if not path.is_file():  # opening a pipe would wait for ever
            raise damaged(path, "it is not there, or no regular file")
        size = path.stat().st_size
        with path.open("rb") as file:
            return _head(Cursor(path, file, size))
    except OSError as error:
        raise damaged(path, f"it cannot be read: {error.strerror or error}") from error


def _head(cursor: Cursor) -> Head:
    magic = cursor.take(len(MAGIC))
    if magic != MAGIC:
        raise damaged(cursor.path, f"it begins with {magic!r}, not {MAGIC!r}")
    version = _version(cursor)
    tensors, pairs = cursor.u64(), cursor.u64()
    cursor.subject = "the number of tensors"
    cursor.counted(tensors, ENTRY_BYTES, TENSOR_LIMIT)
    cursor.subject = "the number of keys"
    values, kinds = _values(cursor, cursor.counted(pairs, PAIR_BYTES, PAIR_LIMIT))
    entries = read_table(cursor, tensors)
    alignment = _alignment(cursor, values)
    start = padded(cursor.at, alignment)
    placements = placed(cursor, entries, start, alignment)
    return Head(version, MappingProxyType(values), MappingProxyType(kinds), placements, start)


def _version(cursor: Cursor) -> int:
    version = cursor.u32()
    if version in VERSIONS:
        return version
    if version & 0xFFFF == 0 and version:
        what, hint = "it is big-endian", "convert it to little-endian with gguf-py"
    else:
        what, hint = f"it has version {version}", "convert the model again with a current tool"
    raise damaged(cursor.path, f"{what}; little-endian versions 2 and 3 are read", hint)


def _values(cursor: Cursor, count: int) -> tuple[dict[str, Stored], dict[str, ValueType]]:
    values: dict[str, Stored] = {}
    kinds: dict[str, ValueType] = {}
    for index in range(count):
        cursor.subject = f"key {index + 1} of {count}"
        key = cursor.name()
        cursor.subject = f"key {key[:64]!r}"
        if key in values:
            raise cursor.fault("is there twice; every key must be another")
        kind = read_type(cursor)
        if key == ALIGNMENT_KEY and kind is not ValueType.UINT32:
            raise cursor.fault(f"is of type {kind.name}; {ValueType.UINT32.name} is required")
        values[key], kinds[key] = read_value(cursor, key, kind), kind
    return values, kinds


def _alignment(cursor: Cursor, values: Mapping[str, Stored]) -> int:
    """Bytes to whose multiples tensors are placed."""
    alignment = values.get(ALIGNMENT_KEY, ALIGNMENT)
    assert isinstance(alignment, int)  # _values saw to it
    if alignment.bit_count() != 1:
        cursor.subject = f"key {ALIGNMENT_KEY!r}"
        raise cursor.fault(f"is {alignment}; a power of two is required")
    return alignment
