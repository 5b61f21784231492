"""The head of a GGUF file: keys, values and tensor table.

It comes first in the file and can be written first, since every size is known beforehand.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence

from edgepack.errors import Unsupported
from edgepack.formats.gguf.layout import (
    ARCHITECTURE_KEY,
    CODES,
    MAGIC,
    TENSOR_TYPES,
    VERSION,
    ValueType,
    padded,
)
from edgepack.formats.gguf.metadata import Value
from edgepack.quant.schemes import Assignment

NUMBERS: Mapping[str, int] = {kind.name: number for number, kind in TENSOR_TYPES.items()}
ARRAYS: Mapping[type, ValueType] = {
    bool: ValueType.BOOL,
    int: ValueType.INT32,
    float: ValueType.FLOAT32,
    str: ValueType.STRING,
}
"""How an array is stored, by the type of its elements."""


def header(architecture: str, values: Mapping[str, Value], tensors: Sequence[Assignment]) -> bytes:
    """As `head`; `general.architecture` comes first, as GGUF's own writers put it."""
    return head({ARCHITECTURE_KEY: architecture, **values}, tensors)


def head(values: Mapping[str, Value], tensors: Sequence[Assignment]) -> bytes:
    """Everything that stands before the tensors, zeros up to the alignment included.

    The tensors follow in the order given, each `padded`. A key whose value is empty is left out:
    an array of nothing has no type, and an absent name says as much as an empty one. Raises
    Unsupported for a value that its GGUF type cannot hold.
    """
    stored = [_pair(key, value) for key, value in values.items() if value not in ("", ())]
    counts = struct.pack("<IQQ", VERSION, len(tensors), len(stored))
    content = b"".join((MAGIC, counts, *stored, *_table(tensors)))
    return content.ljust(padded(len(content)), b"\0")


def entry_bytes(tensor: Assignment) -> int:
    """Bytes that `tensor` takes in the table."""
    return len(_entry(tensor, 0))


def _pair(key: str, value: Value) -> bytes:
    try:
        return _text(key) + _value(value)
    except (struct.error, OverflowError, UnicodeEncodeError) as error:
        raise Unsupported(
            f"GGUF cannot store {key}: {error}", "correct it in the checkpoint's configuration"
        ) from error


def _value(value: Value) -> bytes:
    """Type and value, in the types that GGUF's readers expect: u32 integers, f32 numbers."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return struct.pack("<I", ValueType.STRING) + _text(value)
    if isinstance(value, bool):
        return struct.pack("<I?", ValueType.BOOL, value)
    if isinstance(value, int):
        return struct.pack("<II", ValueType.UINT32, value)
    if isinstance(value, float):
        return struct.pack("<If", ValueType.FLOAT32, value)
    kind = ARRAYS[type(value[0])]
    start = struct.pack("<IIQ", ValueType.ARRAY, kind, len(value))
    if kind is ValueType.STRING:
        return start + b"".join(_text(str(element)) for element in value)
    return start + struct.pack(f"<{len(value)}{CODES[kind]}", *value)


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _table(tensors: Sequence[Assignment]) -> Iterator[bytes]:
    offset = 0
    for tensor in tensors:
        yield _entry(tensor, offset)
        offset += padded(tensor.stored_bytes)


def _entry(tensor: Assignment, offset: int) -> bytes:
    """Name, extents with the row's length first, type, offset."""
    shape = tensor.weight.shape
    extents = struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
    placed = struct.pack("<IQ", NUMBERS[tensor.encoding.name], offset)
    return _text(tensor.weight.name) + extents + placed
