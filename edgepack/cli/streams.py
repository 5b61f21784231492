"""Standard output that fills up, or whose reader leaves: an end of the run, not a bug."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, cast

_UNWRITABLE = "edgepack: standard output cannot be written"


class _Unwritable(Exception):
    """Standard output failed with `error`; a type of its own, so that no file's error is taken
    for it."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


class _Watched:
    """A text stream whose failures are `_Unwritable`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            raise _Unwritable(error) from error

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            raise _Unwritable(error) from error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def guarded_streams() -> Iterator[None]:
    """Run a command; where its output cannot be written, exit 1 with the reason.

    Where the reader of a pipe has left (`edgepack fit MODEL | head -1`) there is nobody to tell,
    and nothing to say.
    """
    if sys.stderr is None:  # closed by the caller; what is opened next must not become it
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115  # as long as the process
    if sys.stdout is None:
        sys.exit(f"{_UNWRITABLE}: it is closed")
    stdout = sys.stdout
    sys.stdout = cast(TextIO, _Watched(stdout))
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except _Unwritable as failure:
        _discard(stdout)
        if failure.error.errno != errno.EPIPE:
            print(f"{_UNWRITABLE}: {failure.error.strerror}", file=sys.stderr)
        sys.exit(1)
    finally:
        sys.stdout = stdout


def _discard(stream: TextIO) -> None:
    """What is still buffered goes nowhere: the interpreter would try once more, and complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
