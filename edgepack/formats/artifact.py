"""`Artifact`: what a format wrote, or what somebody else did, as read back from disk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One file: `path` relative to its artifact or package, size, `sha256:` digest."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class EncodingCount:
    """How many tensors carry one encoding, and their bytes."""

    encoding: str
    tensors: int
    size: int


@dataclass(frozen=True, slots=True)
class Artifact:
    """A model in one format.

    `tensor_digest` covers every tensor's name, encoding, shape and bytes in order of name, and
    nothing of the metadata: it survives tools that rewrite a header. `histogram` is counted from
    the file, largest first.
    """

    format: str
    scheme: str
    architecture: str
    files: tuple[FileRecord, ...]
    tensor_digest: str
    histogram: tuple[EncodingCount, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(record.size for record in self.files)

    def within(self, folder: Path) -> Artifact:
        """The same artifact, its paths seen from where `folder` is the relative way to it."""
        moved = (replace(r, path=(folder / r.path).as_posix()) for r in self.files)
        return replace(self, files=tuple(moved))

    def entry(self, root: Path) -> Path:
        """The file a runtime opens."""
        return root / self.files[0].path
