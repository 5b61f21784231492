"""MLX: a folder that mlx_lm loads, laid out as mlx_lm itself would write it.

layout     the tensors a weight becomes, and the files they go to
heads      config.json, the index, and safetensors headers as bytes
plan       what the files will hold, and the encoder of their tensors
modules    which modules are quantized, read from tensors and config.json
reader     reading an artifact back
tensors    decoding it
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgepack.errors import DamagedInput
from edgepack.formats.artifact import Artifact
from edgepack.formats.mlx.layout import CONFIG, INDEX, WEIGHTS
from edgepack.formats.mlx.plan import MlxPlan
from edgepack.formats.mlx.reader import inspect, is_mlx, written_by
from edgepack.formats.mlx.tensors import tensors
from edgepack.formats.protocol import (
    DEFAULTS,
    Exporter,
    Options,
    StoredTensor,
    Weights,
    checkpoint_of,
)
from edgepack.memory import Program
from edgepack.models import Decoder, features
from edgepack.models.source import SIDE_FILES
from edgepack.quant.schemes import Scheme, Schemes, mlx
from edgepack.quant.schemes.mlx import MlxScheme

__all__ = ["Mlx"]


class Mlx:
    """A folder: config.json is its entry."""

    name = "mlx"
    suffix = ""
    program: Program = "mlx-lm"
    schemes: Schemes = mlx
    exporter: Exporter | None = None
    knows = features.PLAIN
    made_by_others = True

    def cache_types(self, decoder: Decoder, scheme: Scheme) -> tuple[str, ...]:
        """K and V stay in the type that the model calculates in."""
        dtype = scheme.dtype if isinstance(scheme, MlxScheme) else None
        return ((dtype or decoder.dtype).lower(),)

    def plan(self, model: Weights, scheme: Scheme, options: Options = DEFAULTS) -> MlxPlan:
        """mlx-lm's cache grows with the conversation: no file says how far."""
        assert isinstance(scheme, MlxScheme), scheme.name
        options.check_whole(self.name)
        return MlxPlan(checkpoint_of(model, self.name), scheme)

    def inspect(self, path: Path) -> Artifact:
        return inspect(path)

    def tensors(self, entry: Path, model: Weights) -> Iterator[StoredTensor]:
        return tensors(entry, model)

    def find(self, folder: Path) -> tuple[Path, ...]:
        """config.json, where MLX weights lie beside it: a checkpoint has the same names."""
        entry = folder / CONFIG
        return (entry,) if entry.is_file() and any(map(is_mlx, folder.glob(WEIGHTS))) else ()

    def ours(self, folder: Path) -> frozenset[str]:
        weights = list(folder.glob(WEIGHTS))
        if not weights or not all(map(_is_ours, weights)):
            return frozenset()
        names = (CONFIG, INDEX, *SIDE_FILES)
        templates = (path.name for path in folder.glob("chat_template*"))
        return frozenset((*names, *templates, *(path.name for path in weights)))


def _is_ours(path: Path) -> bool:
    """A file that a run was killed over before it wrote a byte is nobody else's."""
    try:
        return path.stat().st_size == 0 or written_by(path).startswith("edgepack ")
    except (DamagedInput, OSError):
        return False
