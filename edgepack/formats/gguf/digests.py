"""The two digests of a GGUF, of the file and of its tensors, from one read of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

CHUNK = 16 * 1024 * 1024  # bytes


@dataclass(frozen=True, slots=True)
class TensorExtent:
    """Where one tensor's bytes lie; `shape` is written as the file has it, `256x339`."""

    name: str
    encoding: str
    shape: str
    offset: int
    size: int


def digests(path: Path, tensors: Iterable[TensorExtent]) -> tuple[str, str]:
    """(sha256 of the file, digest of its tensors), `sha256:` and 64 hex digits each.

    The tensors' digest is the sha256 of one line a tensor, in order of name:
    `NAME NUL ENCODING NUL SHAPE NUL SHA256-OF-ITS-BYTES LF`. Raises ValueError where tensors
    overlap or the file ends within one.
    """
    whole, lines = hashlib.sha256(), []
    with path.open("rb") as file, ThreadPoolExecutor(1) as other:
        for tensor in sorted(tensors, key=lambda tensor: tensor.offset):
            if tensor.offset < file.tell():
                raise ValueError(f"tensor {tensor.name} overlaps the one before")
            for chunk in _chunks(file, tensor.offset - file.tell()):
                whole.update(chunk)
            own = hashlib.sha256()
            for chunk in _chunks(file, tensor.size):
                beside = other.submit(whole.update, chunk)
                own.update(chunk)
                beside.result()
            line = f"{tensor.name}\0{tensor.encoding}\0{tensor.shape}\0{own.hexdigest()}\n"
            lines.append((tensor.name, line))
        while chunk := file.read(CHUNK):
            whole.update(chunk)
    together = "".join(line for _, line in sorted(lines)).encode()
    return f"sha256:{whole.hexdigest()}", f"sha256:{hashlib.sha256(together).hexdigest()}"


def _chunks(file: BinaryIO, count: int) -> Iterator[bytes]:
    """The next `count` bytes, a chunk at a time."""
    while count:
        chunk = file.read(min(count, CHUNK))
        if not chunk:
            raise ValueError(f"the file ends {count} bytes early")
        count -= len(chunk)
        yield chunk
