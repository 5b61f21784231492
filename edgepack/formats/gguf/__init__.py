"""GGUF: header first, then every tensor once, in the types llama.cpp itself would choose.

metadata   the keys of the header
layout     numbers that writing and reading share
header     the head of a file as bytes
imatrix    llama.cpp's matrix of importance, read
plan       what a file will hold, and its encoder
reader     reading it back: cursor (bounded bytes), values, table (tensors)
"""

from __future__ import annotations

from pathlib import Path

from edgepack.errors import DamagedInput
from edgepack.formats.artifact import Artifact
from edgepack.formats.gguf.plan import GgufPlan
from edgepack.formats.gguf.reader import inspect, made_by
from edgepack.formats.protocol import DEFAULTS, Exporter, Options
from edgepack.memory import CACHE_TYPES, Program
from edgepack.models import Checkpoint, Decoder
from edgepack.quant.schemes import Scheme, Schemes, gguf
from edgepack.quant.schemes.mix import GgufScheme

__all__ = ["Gguf"]


class Gguf:
    """One file, `NAME-SCHEME.gguf`."""

    name = "gguf"
    suffix = ".gguf"
    program: Program = "llama-cli"
    schemes: Schemes = gguf
    exporter: Exporter | None = None

    def cache_types(self, decoder: Decoder, scheme: Scheme) -> tuple[str, ...]:
        return ("f16", *(name for name in CACHE_TYPES if name != "f16"))

    def plan(self, checkpoint: Checkpoint, scheme: Scheme, options: Options = DEFAULTS) -> GgufPlan:
        """llama.cpp is told its context when it starts: no file says it."""
        assert isinstance(scheme, GgufScheme), scheme.name
        return GgufPlan(checkpoint, scheme, options)

    def inspect(self, path: Path) -> Artifact:
        return inspect(path)

    def find(self, folder: Path) -> tuple[Path, ...]:
        return tuple(sorted(folder.glob(f"*{self.suffix}")))

    def ours(self, folder: Path) -> frozenset[str]:
        return frozenset(path.name for path in self.find(folder) if _ours(path))


def _ours(path: Path) -> bool:
    """A file that a run was killed over before it wrote a byte is nobody else's."""
    try:
        return path.stat().st_size == 0 or made_by(path).startswith("edgepack ")
    except DamagedInput:
        return False
