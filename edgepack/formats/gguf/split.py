"""One model in several files, as llama.cpp splits it: their names, and the keys that tie them.

Source: llama.cpp's tools/gguf-split (keys, their types, all metadata in the first file) and
llama_split_path (names). llama.cpp is given the first file and finds the others by their names.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgepack.errors import UsageError
from edgepack.formats.gguf.header import entry_bytes, head
from edgepack.formats.gguf.layout import ValueType, padded
from edgepack.formats.gguf.metadata import Value
from edgepack.quant.schemes import Assignment
from edgepack.units import format_bytes

NUMBER, COUNT, TENSORS = "split.no", "split.count", "split.tensors.count"
KEYS = (NUMBER, COUNT, TENSORS)
MOST = 0xFFFF  # both are stored in 16 bits
NAME = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf", re.DOTALL)


def part_name(prefix: str, number: int, count: int) -> str:
    """`prefix-00001-of-00003.gguf` for number 0 of 3."""
    return f"{prefix}-{number + 1:05}-of-{count:05}.gguf"


def first_part(path: Path) -> Path:
    """What llama.cpp is given to load `path`: itself, or the first of the files it is one of."""
    named = NAME.fullmatch(path.name)
    return path.with_name(part_name(named[1], 0, int(named[3]))) if named else path


def keys(number: int, count: int, tensors: int) -> dict[str, Value]:
    """What file `number` of `count` says of itself; `tensors` are those of all files."""
    return {
        NUMBER: struct.pack("<IH", ValueType.UINT16, number),
        COUNT: struct.pack("<IH", ValueType.UINT16, count),
        TENSORS: struct.pack("<Ii", ValueType.INT32, tensors),
    }


def divided(
    values: Mapping[str, Value], tensors: Sequence[Assignment], limit: int
) -> list[list[Assignment]]:
    """The tensors of each file, in order, so that no file has more than `limit` bytes.

    A tensor that is larger has a file to itself, and the first file may hold none: all metadata is
    there. Raises UsageError where a file would not even hold its metadata.
    """
    first = len(head({**values, **keys(0, 0, 0)}, ()))
    other = len(head(keys(0, 0, 0), ()))
    if limit < first:
        raise UsageError(
            f"--split-max-size {format_bytes(limit)}: the metadata alone has {format_bytes(first)}",
            "give more: all of it goes into the first file",
        )
    files: list[list[Assignment]] = [[]]
    entries, data = first, 0
    for tensor in tensors:
        entries += entry_bytes(tensor)
        data += padded(tensor.stored_bytes)
        if padded(entries) + data > limit:
            files.append([])
            entries, data = other + entry_bytes(tensor), padded(tensor.stored_bytes)
        files[-1].append(tensor)
    if len(files) > MOST:
        raise UsageError(
            f"--split-max-size {format_bytes(limit)} makes {len(files)} files",
            f"give more: llama.cpp takes {MOST} at most",
        )
    return files
