"""The digests of an artifact, of its files and of its tensors, from one read of each file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

CHUNK = 1024 * 1024  # bytes: what two cores hash of it is still in their shared cache


@dataclass(frozen=True, slots=True)
class TensorExtent:
    """Where one tensor's bytes lie; `shape` is written as the file has it, `256x339`."""

    name: str
    encoding: str
    shape: str
    offset: int
    size: int


def digests(path: Path, tensors: Iterable[TensorExtent]) -> tuple[str, str]:
    """(sha256 of the file, digest of its tensors), as `digests_of` gives them for one file."""
    (whole,), together = digests_of({path: tensors})
    return whole, together


def digests_of(
    files: Mapping[Path, Iterable[TensorExtent]], held: Iterable[tuple[TensorExtent, bytes]] = ()
) -> tuple[tuple[str, ...], str]:
    """(sha256 of each file, digest of the tensors of all), `sha256:` and 64 hex digits each.

    `held` are tensors whose bytes are at hand, since they lie within a file's header.

    The tensors' digest is the sha256 of one line a tensor, in order of name:
    `NAME NUL ENCODING NUL SHAPE NUL SHA256-OF-ITS-BYTES LF`. So it does not depend on which file
    a tensor lies in. Raises ValueError where tensors overlap or a file ends within one.
    """
    wholes: list[str] = []
    lines = [_line(tensor, hashlib.sha256(content).hexdigest()) for tensor, content in held]
    for path, tensors in files.items():
        whole, found = _read(path, tensors)
        wholes.append(f"sha256:{whole}")
        lines += found
    together = "".join(line for _, line in sorted(lines)).encode()
    return tuple(wholes), f"sha256:{hashlib.sha256(together).hexdigest()}"


def _read(path: Path, tensors: Iterable[TensorExtent]) -> tuple[str, list[tuple[str, str]]]:
    """sha256 of the file, and a tensor's name and line for each."""
    whole, lines = hashlib.sha256(), []
    with path.open("rb", buffering=0) as file, ThreadPoolExecutor(1) as other:
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
            lines.append(_line(tensor, own.hexdigest()))
        for chunk in _chunks(file, path.stat().st_size - file.tell()):
            whole.update(chunk)
    return whole.hexdigest(), lines


def _line(tensor: TensorExtent, sha256: str) -> tuple[str, str]:
    return tensor.name, f"{tensor.name}\0{tensor.encoding}\0{tensor.shape}\0{sha256}\n"


def _chunks(file: FileIO, count: int) -> Iterator[memoryview]:
    """The next `count` bytes, a chunk at a time; each is overwritten by the next."""
    buffer = memoryview(bytearray(min(CHUNK, count)))
    while count:
        got = file.readinto(buffer[: min(CHUNK, count)])
        if not got:
            raise ValueError(f"the file ends {count} bytes early")
        count -= got
        yield buffer[:got]
