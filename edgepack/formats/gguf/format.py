"""GGUF as a Format."""

from __future__ import annotations

import tempfile
from pathlib import Path

from edgepack.formats.artifact import Artifact
from edgepack.formats.gguf.header import padded, write_header
from edgepack.formats.gguf.metadata import metadata
from edgepack.formats.gguf.reader import inspect
from edgepack.formats.gguf.writer import tensor_bytes, write_gguf
from edgepack.formats.protocol import Progress
from edgepack.models import Checkpoint
from edgepack.quant.schemes import Scheme


class Gguf:
    """One file, `NAME-SCHEME.gguf`."""

    name = "gguf"

    def planned_bytes(self, checkpoint: Checkpoint, scheme: Scheme) -> int:
        tensors = scheme.assign(checkpoint.decoder)
        with tempfile.TemporaryDirectory() as folder:
            header = write_header(
                Path(folder, "header"),
                checkpoint.decoder.gguf.architecture,
                metadata(checkpoint, scheme),
                tensors,
            )
        return header + sum(padded(tensor_bytes(tensor)) for tensor in tensors)

    def write(
        self, checkpoint: Checkpoint, scheme: Scheme, folder: Path, progress: Progress
    ) -> Artifact:
        base = checkpoint.name.rsplit("/", 1)[-1]
        path = folder / f"{base}-{scheme.name}.gguf"
        write_gguf(checkpoint, scheme, path, progress)
        return self.inspect(path)

    def inspect(self, path: Path) -> Artifact:
        return inspect(path)
