"""Reading a GGUF back: its types counted, its tensors digested, whoever wrote it."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from edgepack.errors import DamagedInput
from edgepack.formats.artifact import Artifact, EncodingCount, FileRecord
from edgepack.formats.gguf.metadata import FILE_TYPES
from edgepack.models.digest import sha256_of

if TYPE_CHECKING:
    from gguf import GGUFReader, ReaderTensor

MAGIC = b"GGUF"


def inspect(path: Path) -> Artifact:
    """Describe one GGUF file. Raises DamagedInput for a file that breaks the format."""
    reader = open_reader(path)
    tensors = sorted(reader.tensors, key=lambda tensor: tensor.name)
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for tensor in tensors:
        counts[tensor.tensor_type.name] += 1
        sizes[tensor.tensor_type.name] += int(tensor.n_bytes)
    return Artifact(
        format="gguf",
        scheme=_scheme(path, reader),
        architecture=_architecture(path, reader),
        files=(FileRecord(path.name, path.stat().st_size, sha256_of(path)),),
        tensor_digest=_tensor_digest(tensors),
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


def _tensor_digest(tensors: list[ReaderTensor]) -> str:
    """sha256 over each tensor's `name NUL type NUL shape NUL` and bytes, in order of name."""
    digest = hashlib.sha256()
    for tensor in tensors:
        shape = "x".join(str(int(extent)) for extent in tensor.shape)
        digest.update(f"{tensor.name}\0{tensor.tensor_type.name}\0{shape}\0".encode())
        digest.update(tensor.data.data)
    return f"sha256:{digest.hexdigest()}"


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
