"""Reading a GGUF back, whoever wrote it: its head bounded, its types counted, its tensors digested.

The head is read in one pass of our own: gguf-py makes an object for every token of a vocabulary,
and needs seconds for what takes a tenth of one here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from edgepack.formats.artifact import Artifact, EncodingCount, FileRecord
from edgepack.formats.digests import TensorExtent, digests
from edgepack.formats.gguf.cursor import Cursor, damaged
from edgepack.formats.gguf.layout import (
    ALIGNMENT,
    ALIGNMENT_KEY,
    ARCHITECTURE_KEY,
    MAGIC,
    ValueType,
    padded,
)
from edgepack.formats.gguf.metadata import FILE_TYPES, OVERRIDES_KEY
from edgepack.formats.gguf.table import ENTRY_BYTES, TENSOR_LIMIT, placed, read_table
from edgepack.formats.gguf.values import Array, Stored, read_type, read_value

__all__ = ["Array", "Head", "Stored", "inspect", "read_head"]

VERSIONS = (2, 3)  # 3 only added big-endian files; 1 had lengths of 32 bits
PAIR_BYTES = 13  # the least a pair takes: key length, type, one byte of value
PAIR_LIMIT = 1 << 16  # a model has some fifty


@dataclass(frozen=True, slots=True)
class Head:
    """What stands before the tensors of a GGUF.

    `values` in the file's order, arrays as `Array`; `tensors` in the table's order, at absolute
    offsets; tensor data begins at `data_offset` bytes.
    """

    version: int
    values: Mapping[str, Stored]
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
    values = _values(cursor, cursor.counted(pairs, PAIR_BYTES, PAIR_LIMIT))
    entries = read_table(cursor, tensors)
    alignment = _alignment(cursor, values)
    start = padded(cursor.at, alignment)
    placements = placed(cursor, entries, start, alignment)
    return Head(version, MappingProxyType(values), placements, start)


def _version(cursor: Cursor) -> int:
    version = cursor.u32()
    if version in VERSIONS:
        return version
    if version & 0xFFFF == 0 and version:
        what, hint = "it is big-endian", "convert it to little-endian with gguf-py"
    else:
        what, hint = f"it has version {version}", "convert the model again with a current tool"
    raise damaged(cursor.path, f"{what}; little-endian versions 2 and 3 are read", hint)


def _values(cursor: Cursor, count: int) -> dict[str, Stored]:
    values: dict[str, Stored] = {}
    for index in range(count):
        cursor.subject = f"key {index + 1} of {count}"
        key = cursor.name()
        cursor.subject = f"key {key[:64]!r}"
        if key in values:
            raise cursor.fault("is there twice; every key must be another")
        kind = read_type(cursor)
        if key == ALIGNMENT_KEY and kind is not ValueType.UINT32:
            raise cursor.fault(f"is of type {kind.name}; {ValueType.UINT32.name} is required")
        values[key] = read_value(cursor, key, kind)
    return values


def _alignment(cursor: Cursor, values: Mapping[str, Stored]) -> int:
    """Bytes to whose multiples tensors are placed."""
    alignment = values.get(ALIGNMENT_KEY, ALIGNMENT)
    assert isinstance(alignment, int)  # _values saw to it
    if alignment.bit_count() != 1:
        cursor.subject = f"key {ALIGNMENT_KEY!r}"
        raise cursor.fault(f"is {alignment}; a power of two is required")
    return alignment


def inspect(path: Path) -> Artifact:
    """Describe one GGUF file. Raises DamagedInput for a file that breaks the format."""
    head = read_head(path)
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for tensor in head.tensors:
        counts[tensor.encoding] += 1
        sizes[tensor.encoding] += tensor.size
    architecture = _architecture(path, head)
    try:
        sha256, tensor_digest = digests(path, head.tensors)
        size = path.stat().st_size
    except (ValueError, OSError) as error:  # it changed since
        raise damaged(path, str(error)) from error
    return Artifact(
        format="gguf",
        scheme=_scheme(head),
        architecture=architecture,
        files=(FileRecord(path.name, size, sha256),),
        tensor_digest=tensor_digest,
        histogram=tuple(EncodingCount(n, counts[n], total) for n, total in sizes.most_common()),
    )


def made_by(path: Path) -> str:
    """`general.quantized_by`: the program that wrote the file, empty where it does not say.

    Raises DamagedInput.
    """
    name = read_head(path).values.get("general.quantized_by")
    return name if isinstance(name, str) else ""


def _scheme(head: Head) -> str:
    """The scheme that `general.file_type` names; "unknown" where there is none, or a newer one.

    What we wrote under overrides says so, and is then named as `GgufScheme.name` has it.
    """
    number = head.values.get("general.file_type")
    name = next((name for name, known in FILE_TYPES.items() if known == number), "unknown")
    return f"{name}-custom" if OVERRIDES_KEY in head.values else name


def _architecture(path: Path, head: Head) -> str:
    name = head.values.get(ARCHITECTURE_KEY)
    if not isinstance(name, str) or not name:
        found = "missing" if name is None else "no name"
        raise damaged(path, f"{ARCHITECTURE_KEY} is {found}; the model's architecture is required")
    return name
