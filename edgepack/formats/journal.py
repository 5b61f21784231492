"""The journal of an unfinished write: how many slabs of which plan are in its files.

Slabs are written in order, so one number says it all. The journal is of use to the same plan, from
the same source, by the same edgepack, since the same boot: what a killed process wrote is in the
system's cache or on disk, what a machine without power wrote may be neither.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Self

from edgepack.formats.output import disk_error

NAME = ".edgepack-journal"
_COUNT_DIGITS = 20
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Journal:
    """Open on `path`. `done` slabs are in the files; 0 where there was no journal of this plan.

    `plan` is whatever must be the same for a slab to be the same; `files` maps the names of what
    is written, relative to the journal's folder, to their sizes.
    """

    def __init__(self, path: Path, plan: Iterable[str], files: Mapping[str, int]) -> None:
        """Raises OSError where the folder refuses."""
        text = "\n".join((*plan, _boot()))
        head = {"plan": hashlib.sha256(text.encode()).hexdigest(), "files": dict(files)}
        self._head = json.dumps(head).encode() + b"\n"
        self.done = self._found(path)
        if not self.done:
            for name in names(path):  # of another plan
                (path.parent / name).unlink(missing_ok=True)
            path.write_bytes(self._head + _line(0))
        self._path, self._file = path, path.open("r+b", buffering=0)

    def finish(self, slabs: int) -> None:
        """`slabs` are in the files, from the first on. Raises OutputError."""
        try:
            self._file.seek(len(self._head))
            self._file.write(_line(slabs))
        except OSError as error:
            raise disk_error(self._path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def _found(self, path: Path) -> int:
        """Slabs that an earlier journal of the same plan counts, if its files are all there."""
        try:
            content = path.read_bytes()
            sizes = {name: (path.parent / name).stat().st_size for name in names(path)}
        except OSError:
            return 0
        if content[: len(self._head)] != self._head or sizes != json.loads(self._head)["files"]:
            return 0
        count = content[len(self._head) :]
        return int(count) if len(count) == _COUNT_DIGITS + 1 and count.strip().isdigit() else 0


def names(path: Path) -> tuple[str, ...]:
    """The files that the journal at `path` speaks of, all of them below its folder.

    None where it is not readable, or not one of ours: it speaks of files elsewhere.
    """
    try:
        head: Any = json.loads(path.read_bytes().splitlines()[0])
        found = tuple(PurePosixPath(name) for name in head["files"])
    except (OSError, ValueError, LookupError, TypeError):
        return ()
    if any(name.is_absolute() or ".." in name.parts for name in found):
        return ()
    return tuple(map(str, found))


def allocated(folder: Path) -> int:
    """Bytes that the files of an unfinished write in `folder` take up already."""
    found = (folder / name for name in names(folder / NAME))
    return sum(_allocated(path) for path in found if path.is_file())


def _allocated(path: Path) -> int:
    status = path.stat()
    return getattr(status, "st_blocks", 0) * 512


def _line(count: int) -> bytes:
    return f"{count:0{_COUNT_DIGITS}}\n".encode()


def _boot() -> str:
    """Something that changes when the machine starts anew."""
    if _BOOT.is_file():
        return _BOOT.read_text().strip()
    import psutil

    return str(int(psutil.boot_time()) // 60)
