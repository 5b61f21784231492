"""What every format offers. The house above knows formats by this Protocol alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from edgepack.formats.artifact import Artifact
from edgepack.models import Checkpoint
from edgepack.quant.schemes import Scheme

Progress = Callable[[int, int], None]  # elements done, elements in all


class Format(Protocol):
    """One on-disk format: what it would write, writing it, and reading back what lies there."""

    name: str

    def planned_bytes(self, checkpoint: Checkpoint, scheme: Scheme) -> int:
        """Exact size of what `write` would write; nothing is written."""
        ...

    def write(
        self, checkpoint: Checkpoint, scheme: Scheme, folder: Path, progress: Progress
    ) -> Artifact:
        """Encode the checkpoint into `folder` and describe it as read back from disk.

        Raises DamagedInput for weights that are not finite or a source that changes, OutputError
        where the disk refuses.
        """
        ...

    def inspect(self, path: Path) -> Artifact:
        """Describe an artifact, edgepack's or somebody else's. Raises DamagedInput."""
        ...
