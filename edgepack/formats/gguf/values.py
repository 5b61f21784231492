"""The values of a GGUF's keys: scalars and strings as they are, arrays when they are asked for."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from edgepack.formats.gguf.cursor import U64, Cursor, damaged
from edgepack.formats.gguf.layout import CODES, ValueType

NESTING = 4  # arrays of arrays; no file known has any, and the format sets no limit
NESTED_LIMIT = 1 << 16  # arrays within arrays in one file: each takes 12 bytes, and time


@dataclass(frozen=True, slots=True)
class Array:
    """`count` elements of type `kind`, as stored: known to be whole, not decoded yet."""

    path: Path
    key: str
    kind: ValueType
    count: int
    data: bytes = field(repr=False)

    def elements(self) -> tuple[Any, ...]:
        """The elements: numbers, strings, or Arrays. Raises DamagedInput for broken UTF-8."""
        if self.kind is ValueType.STRING:
            return tuple(self._texts())
        if self.kind is ValueType.ARRAY:
            inner = Cursor(self.path, BytesIO(self.data), len(self.data))
            return tuple(read_array(inner, self.key) for _ in range(self.count))
        return struct.unpack(f"<{self.count}{CODES[self.kind]}", self.data)

    def _texts(self) -> Iterator[str]:
        at, data = 0, self.data
        for index in range(self.count):
            start = at + U64.size
            at = start + U64.unpack_from(data, at)[0]
            try:
                yield data[start:at].decode()
            except UnicodeDecodeError as error:
                what = f"element {index} of key {self.key!r} is not UTF-8: {error}"
                raise damaged(self.path, what) from error


Stored = str | int | float | bool | Array


def read_type(cursor: Cursor) -> ValueType:
    number = cursor.u32()
    try:
        return ValueType(number)
    except ValueError as error:
        last = max(ValueType)
        raise cursor.fault(f"has values of type {number}; GGUF's types are 0 to {last}") from error


def read_value(cursor: Cursor, key: str, kind: ValueType) -> Stored:
    if kind is ValueType.STRING:
        return cursor.text()
    if kind is ValueType.ARRAY:
        return read_array(cursor, key)
    code = struct.Struct(f"<{CODES[kind]}")
    value: int | float | bool = code.unpack(cursor.take(code.size))[0]
    return value


def stored_bytes(kind: ValueType, value: Stored) -> bytes:
    """Type and value as they were in the file."""
    if isinstance(value, Array):
        return struct.pack("<IIQ", kind, value.kind, value.count) + value.data
    if isinstance(value, str):
        text = value.encode()
        return struct.pack("<IQ", kind, len(text)) + text
    return struct.pack(f"<I{CODES[kind]}", kind, value)


def read_array(cursor: Cursor, key: str) -> Array:
    kind, count = read_type(cursor), cursor.u64()
    start = cursor.at
    _skip(cursor, kind, count, NESTING)
    return Array(cursor.path, key, kind, count, cursor.since(start))


def _skip(cursor: Cursor, kind: ValueType, count: int, depth: int) -> None:
    """Step over the elements of an array, all of which must be there."""
    if kind is ValueType.STRING:
        cursor.skip_texts(count)
    elif kind is not ValueType.ARRAY:
        cursor.skip(count * struct.calcsize(f"<{CODES[kind]}"))
    elif depth == 0:
        raise cursor.fault(f"nests arrays more than {NESTING} deep")
    else:
        cursor.nested += count
        if cursor.nested > NESTED_LIMIT:
            raise cursor.fault(f"nests {cursor.nested} arrays; at most {NESTED_LIMIT} are allowed")
        for _ in range(count):
            _skip(cursor, read_type(cursor), cursor.u64(), depth - 1)
