"""The front of a file, read as far as it is asked for and never further than it reaches."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from edgepack.errors import DamagedInput

CHUNK = 256 * 1024  # bytes; the whole head of most models without their vocabulary
HEAD_LIMIT = 128 * 1024 * 1024  # bytes; 150,000 tokens with as many merges take 6 MB
NAME_LIMIT = 65_535  # bytes of a key, by docs/gguf.md; tensor names are shorter
U32 = struct.Struct("<I")
U64 = struct.Struct("<Q")


def damaged(path: Path, what: str, hint: str = "fetch or make the file again") -> DamagedInput:
    return DamagedInput(f"{path}: not a sound GGUF file: {what}", hint)


class Cursor:
    """A place in the head of a file of `size` bytes.

    Nothing is believed that is not wholly within the file, and nothing is allocated for it. Every
    fault is a DamagedInput that names the file and `subject`, the part being read.
    """

    def __init__(self, path: Path, file: BinaryIO, size: int) -> None:
        self.path = path
        self.size = size
        self.subject = "the header"
        self.at = 0
        self.nested = 0  # arrays met within arrays
        self._file = file
        self._data = bytearray()

    def fault(self, what: str) -> DamagedInput:
        return damaged(self.path, f"{self.subject} {what}")

    def skip(self, count: int) -> None:
        """Step over `count` bytes."""
        self._reach(self.at + count)
        self.at += count

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        start = self.at
        self.skip(count)
        return self.since(start)

    def since(self, start: int) -> bytes:
        """The bytes from `start` to here."""
        return bytes(self._data[start : self.at])

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def u64(self) -> int:
        return int.from_bytes(self.take(8), "little")

    def text(self) -> str:
        """A string: its length as u64, then UTF-8."""
        return self._decoded(self.u64())

    def name(self) -> str:
        """A string that names something: neither empty nor endless."""
        length = self.u64()
        if not 0 < length <= NAME_LIMIT:
            raise self.fault(f"has a name of {length} bytes; 1 to {NAME_LIMIT} are allowed")
        return self._decoded(length)

    def skip_texts(self, count: int) -> None:
        """Step over `count` strings, in a loop of its own: a vocabulary has 10^5 and more."""
        at, data, reached = self.at, self._data, len(self._data)
        for _ in range(count):
            if at + U64.size > reached:
                self._reach(at + U64.size)
                reached = len(data)
            at += U64.size + U64.unpack_from(data, at)[0]
        self.skip(at - self.at)

    def counted(self, count: int, least: int, most: int) -> int:
        """`count`, once that many things of `least` bytes each can follow, and no more than `most`.

        Checked before any of them is read.
        """
        rest = self.size - self.at
        if count > most or count * least > rest:
            raise self.fault(f"counts {count}; at most {min(most, rest // least)} can follow")
        return count

    def _decoded(self, length: int) -> str:
        try:
            return self.take(length).decode()
        except UnicodeDecodeError as error:
            raise self.fault(f"is not UTF-8: {error}") from error

    def _reach(self, end: int) -> None:
        """Have the file's first `end` bytes at hand."""
        if end > self.size:
            raise self.fault(f"would reach to byte {end} of a file of {self.size}")
        if end > HEAD_LIMIT:
            raise self.fault(f"reaches to byte {end}; a header has at most {HEAD_LIMIT}")
        while len(self._data) < end:
            chunk = self._file.read(max(CHUNK, end - len(self._data)))
            if not chunk:
                raise self.fault(f"ends at byte {len(self._data)}: the file has become shorter")
            self._data += chunk
