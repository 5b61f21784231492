"""Reading a GGUF back: its types counted, its tensors digested, whoever wrote it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from edgepack.errors import DamagedInput
from edgepack.formats.artifact import Artifact, EncodingCount, FileRecord
from edgepack.formats.gguf.digests import TensorExtent, digests
from edgepack.formats.gguf.metadata import FILE_TYPES

if TYPE_CHECKING:
    from gguf import GGUFReader, ReaderTensor

MAGIC = b"GGUF"


def inspect(path: Path) -> Artifact:
    """Describe one GGUF file. Raises DamagedInput for a file that breaks the format."""
    reader = open_reader(path)
    tensors = [_extent(tensor) for tensor in reader.tensors]
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for tensor in tensors:
        counts[tensor.encoding] += 1
        sizes[tensor.encoding] += tensor.size
    try:
        sha256, tensor_digest = digests(path, tensors)
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    return Artifact(
        format="gguf",
        scheme=_scheme(path, reader),
        architecture=_architecture(path, reader),
        files=(FileRecord(path.name, path.stat().st_size, sha256),),
        tensor_digest=tensor_digest,
        histogram=tuple(EncodingCount(n, counts[n], size) for n, size in sizes.most_common()),
    )


def open_reader(path: Path) -> GGUFReader:
    """gguf-py's reader, its many exceptions turned into one error of ours."""
    from edgepack.formats.gguf.bounds import BoundedReader

    try:
        with path.open("rb") as file:
            magic = file.read(4)
        if magic != MAGIC:
            raise _damaged(path, f"it begins with {magic!r}, not {MAGIC!r}")
        reader = BoundedReader(path)
    except DamagedInput:
        raise
    except Exception as error:  # gguf-py raises ValueError, IndexError, KeyError, UnicodeError, ...
        raise _damaged(path, f"{type(error).__name__}: {error}") from error
    size = path.stat().st_size
    for tensor in reader.tensors:
        if int(tensor.data_offset) + int(tensor.n_bytes) > size:
            raise _damaged(path, f"tensor {tensor.name} reaches beyond the file's {size} bytes")
    return reader


def _extent(tensor: ReaderTensor) -> TensorExtent:
    return TensorExtent(
        name=tensor.name,
        encoding=tensor.tensor_type.name,
        shape="x".join(str(int(extent)) for extent in tensor.shape),
        offset=int(tensor.data_offset),
        size=int(tensor.n_bytes),
    )


def _scheme(path: Path, reader: GGUFReader) -> str:
    """The scheme that `general.file_type` names; "unknown" where there is none, or a newer one."""
    number = _value(path, reader, "general.file_type")
    return next((name for name, known in FILE_TYPES.items() if known == number), "unknown")


def _architecture(path: Path, reader: GGUFReader) -> str:
    name = _value(path, reader, "general.architecture")
    if not isinstance(name, str) or not name:
        raise _damaged(path, f"general.architecture is {name!r}, not a name")
    return name


def _value(path: Path, reader: GGUFReader, key: str) -> object:
    """A metadata value, or None where the key is absent."""
    field = reader.fields.get(key)
    try:
        return field.contents() if field else None
    except (ValueError, IndexError, TypeError) as error:
        raise _damaged(path, f"{key} cannot be read: {error}") from error


def _damaged(path: Path, what: str) -> DamagedInput:
    return DamagedInput(f"{path}: not a sound GGUF file: {what}", "fetch or make the file again")
