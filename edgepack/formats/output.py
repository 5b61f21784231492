"""The files of an artifact being written."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from io import FileIO
from pathlib import Path
from typing import Final

from edgepack.errors import OutputError
from edgepack.formats.protocol import Piece, Plan
from edgepack.units import format_bytes

FULL: Final = (errno.ENOSPC, errno.EDQUOT)


FLUSHED = 64 * 1024 * 1024  # bytes between two requests to the disk


class Output:
    """The files of one plan, open: heads in place, sizes final, pieces written as they come.

    `resumed` keeps what an earlier run wrote into them.
    """

    def __init__(self, plan: Plan, folder: Path, *, resumed: bool = False) -> None:
        self._planned, self._folder = plan.files, folder
        self._mode = "r+" if resumed else "w"
        self._files: list[FileIO] = []
        self._disk = ThreadPoolExecutor(1)
        self._flushed: Future[None] | None = None
        self._unflushed = 0

    def __enter__(self) -> Output:
        for planned in self._planned:
            path = self._folder / planned.name
            try:
                file = FileIO(path, self._mode)  # a full disk is met in write, not in close
                self._files.append(file)
                _write_whole(file, planned.head)
                file.truncate(planned.size)
            except OSError as error:
                self.__exit__()
                raise disk_error(path, error) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._disk.shutdown()
        for file in self._files:
            file.close()

    def write(self, pieces: Iterable[Piece]) -> None:
        """Raises OutputError where the disk refuses."""
        for piece in pieces:
            file = self._files[piece.file]
            try:
                file.seek(piece.offset)
                _write_whole(file, piece.data.data)
            except OSError as error:
                raise disk_error(self._folder / self._planned[piece.file].name, error) from error
            self._unflushed += piece.data.nbytes
        if self._unflushed >= FLUSHED and (self._flushed is None or self._flushed.done()):
            self._unflushed = 0
            self._flushed = self._disk.submit(self._flush)

    def _flush(self) -> None:
        """What is published has to be on the disk first, and now the disk is idle."""
        for file in self._files:
            os.fsync(file.fileno())


def _write_whole(file: FileIO, data: bytes | memoryview) -> None:
    """The system may take less than it is given."""
    rest = memoryview(data).cast("B")
    while rest:
        rest = rest[file.write(rest) :]


def disk_error(path: Path, error: OSError) -> OutputError:
    """What to raise where writing `path` failed."""
    if error.errno in FULL:
        return OutputError(
            f"{path}: no space left on the device", "free some, or choose another -o"
        )
    size = format_bytes(path.stat().st_size) if path.exists() else "nothing"
    return OutputError(
        f"{path}: cannot write: {error.strerror or error} ({size} written)", "check the folder"
    )
