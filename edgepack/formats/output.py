"""The files of an artifact being written."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from io import FileIO
from pathlib import Path
from threading import Lock
from typing import Final

from edgepack.errors import OutputError
from edgepack.formats.protocol import Piece, Plan

FULL: Final = (errno.ENOSPC, errno.EDQUOT)
FLUSHED = 64 * 1024 * 1024  # bytes between two requests to the disk


class DiskFull(OutputError):
    """A write was refused for want of space; what was written before it is in the files."""


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
        self._unflushed, self._counting = 0, Lock()

    def __enter__(self) -> Output:
        for planned in self._planned:
            path = self._folder / planned.name
            try:
                file = FileIO(path, self._mode)  # a full disk is met in write, not in close
                self._files.append(file)
                _write_whole(file, planned.head, 0)
                file.truncate(planned.size)
            except OSError as error:
                self._close()
                raise disk_error(path, error) from error
        return self

    def __exit__(self, *_: object) -> None:
        """Raises OutputError where the disk failed: whatever ended the run, nothing can resume."""
        self._close()
        if self._flushed:
            self._flushed.result()

    def _close(self) -> None:
        self._disk.shutdown()
        for file in self._files:
            file.close()

    def write(self, pieces: Iterable[Piece]) -> None:
        """From any thread. Raises OutputError where the disk refuses, DiskFull where it is full."""
        written = 0
        for piece in pieces:
            try:
                _write_whole(self._files[piece.file], piece.data.data, piece.offset)
            except OSError as error:
                raise disk_error(self._path(piece.file), error) from error
            written += piece.data.nbytes
        with self._counting:
            self._unflushed += written
            if self._unflushed < FLUSHED or (self._flushed and not self._flushed.done()):
                return
            if self._flushed:
                self._flushed.result()
            self._unflushed = 0
            self._flushed = self._disk.submit(self._flush)

    def _flush(self) -> None:
        """What is published has to be on the disk first, and now the disk is idle.

        A failure is told to whoever asks first, and to nobody after: it must not be lost.
        """
        for number, file in enumerate(self._files):
            try:
                os.fsync(file.fileno())
            except OSError as error:
                raise unwritten_error(self._path(number), error) from error

    def _path(self, number: int) -> Path:
        return self._folder / self._planned[number].name


_SEEKING = Lock()


def _write_whole(file: FileIO, data: bytes | memoryview, offset: int) -> None:
    """The system may take less than it is given."""
    rest = memoryview(data).cast("B")
    while rest:
        written = _write_at(file, rest, offset)
        rest, offset = rest[written:], offset + written


def _write_at(file: FileIO, data: memoryview, offset: int) -> int:
    """Bytes that were taken; Windows cannot write at a place without going there."""
    if sys.platform != "win32":
        return os.pwrite(file.fileno(), data, offset)
    with _SEEKING:
        file.seek(offset)
        return file.write(data)


def disk_error(path: Path, error: OSError) -> OutputError:
    """What to raise where writing `path` failed."""
    if error.errno in FULL:
        return DiskFull(f"{path}: no space left on the device", "free some, or choose another -o")
    hint = "check the folder"
    if error.errno == errno.EFBIG:
        hint = "neither ulimit -f nor the file system may forbid a file of that size"
    return OutputError(f"{path}: cannot write: {error.strerror or error}", hint)


def unwritten_error(path: Path, error: OSError) -> OutputError:
    """What to raise where `path` was written and the disk did not take it.

    Nobody knows what of it is there: this is not to be resumed, even if the disk is full.
    """
    return OutputError(
        f"{path}: what was written did not reach the disk: {error.strerror or error}",
        "check the disk, or choose another -o",
    )
