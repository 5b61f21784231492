"""GGUF: header first, then every tensor once, in the types llama.cpp itself would choose.

metadata   the keys of the header
layout     numbers that writing and reading share
header     the head of a file as bytes
split      the names and keys of a model in several files
files      the files of a model, and where its tensors lie
imatrix    llama.cpp's matrix of importance, read
plan       what they will hold, and its encoder
reader     reading a head back: cursor (bounded bytes), values, table (tensors)
inspection describing what was read, all its files together
tensors    decoding it
keys       what a head says of its model
shape      as much of it as the memory law asks
source     a GGUF taken for the model to quantize
requantized what is made of it
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgepack.errors import DamagedInput
from edgepack.formats.artifact import Artifact
from edgepack.formats.gguf.inspection import inspect, made_by
from edgepack.formats.gguf.plan import GgufPlan
from edgepack.formats.gguf.requantized import RequantizedPlan
from edgepack.formats.gguf.shape import GgufShape, read_shape
from edgepack.formats.gguf.source import GgufModel, open_gguf
from edgepack.formats.gguf.split import first_part
from edgepack.formats.gguf.tensors import tensors
from edgepack.formats.protocol import (
    DEFAULTS,
    Exporter,
    Options,
    Plan,
    StoredTensor,
    Weights,
    checkpoint_of,
)
from edgepack.memory import CACHE_TYPES, Program
from edgepack.models import Decoder, features
from edgepack.quant.schemes import Scheme, Schemes, gguf
from edgepack.quant.schemes.mix import GgufScheme

__all__ = ["Gguf", "GgufModel", "GgufShape", "open_gguf", "read_shape"]


class Gguf:
    """One file, `NAME-SCHEME.gguf`, or several if asked, `NAME-SCHEME-00001-of-00003.gguf`."""

    name = "gguf"
    suffix = ".gguf"
    program: Program = "llama-cli"
    schemes: Schemes = gguf
    exporter: Exporter | None = None
    knows = features.PLAIN
    made_by_others = True

    def cache_types(self, decoder: Decoder, scheme: Scheme) -> tuple[str, ...]:
        return ("f16", *(name for name in CACHE_TYPES if name != "f16"))

    def plan(self, model: Weights, scheme: Scheme, options: Options = DEFAULTS) -> Plan:
        """llama.cpp is told its context when it starts: no file says it."""
        assert isinstance(scheme, GgufScheme), scheme.name
        if isinstance(model, GgufModel):
            return RequantizedPlan(model, scheme, options)
        return GgufPlan(checkpoint_of(model, self.name), scheme, options)

    def inspect(self, path: Path) -> Artifact:
        return inspect(path)

    def tensors(self, entry: Path, model: Weights) -> Iterator[StoredTensor]:
        return tensors(entry, model)

    def find(self, folder: Path) -> tuple[Path, ...]:
        """Of a model in several files, the first."""
        found = sorted(folder.glob(f"*{self.suffix}"))
        return tuple(path for path in found if path == first_part(path))

    def ours(self, folder: Path) -> frozenset[str]:
        """Of a model in several files, only the first says who wrote them."""
        found = folder.glob(f"*{self.suffix}")
        return frozenset(path.name for path in found if _ours(first_part(path)))


def _ours(path: Path) -> bool:
    """A file that a run was killed over before it wrote a byte is nobody else's."""
    try:
        return path.stat().st_size == 0 or made_by(path).startswith("edgepack ")
    except DamagedInput:
        return False
