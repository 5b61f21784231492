"""ONNX: a folder that onnxruntime-genai generates from, and onnxruntime runs by itself.

layout     where every tensor lies in the data file
rotary     tables of angles, which the graph wants as tensors
graph      the operators, from the Decoder
genai      genai_config.json
plan       what the files will hold, and the encoder of their tensors
exported   models that are no decoders, through optimum
export     the process in which optimum works
files      what lies in the folder of such a model
tensors    the initializers of a model, checked
reader     reading an artifact back
weights    decoding it
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgepack.errors import DamagedInput, Missing
from edgepack.formats.artifact import Artifact
from edgepack.formats.onnx.exported import Exported
from edgepack.formats.onnx.files import DECODER, ENCODER, EXPORT, side_files
from edgepack.formats.onnx.genai import GENAI_FILE
from edgepack.formats.onnx.graph import DATA_FILE, MODEL_FILE
from edgepack.formats.onnx.plan import SIDE_FILES, OnnxPlan
from edgepack.formats.onnx.reader import inspect, written_by
from edgepack.formats.onnx.weights import tensors
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
from edgepack.quant.schemes import Scheme, Schemes, onnx

__all__ = ["Onnx"]


class Onnx:
    """A folder: model.onnx is its entry."""

    name = "onnx"
    suffix = ""
    program: Program = "onnxruntime-genai"
    schemes: Schemes = onnx
    exporter: Exporter | None = Exported()
    knows = features.PLAIN
    made_by_others = False

    def cache_types(self, decoder: Decoder, scheme: Scheme) -> tuple[str, ...]:
        """K and V are what activations are."""
        return ("f16" if scheme.name == "F16" else "f32",)

    def plan(self, model: Weights, scheme: Scheme, options: Options = DEFAULTS) -> OnnxPlan:
        """GenAI makes room for the whole of a conversation before it begins: so many tokens."""
        options.check_whole(self.name)
        return OnnxPlan(checkpoint_of(model, self.name), scheme, options.context)

    def inspect(self, path: Path) -> Artifact:
        return inspect(path)

    def tensors(self, entry: Path, model: Weights) -> Iterator[StoredTensor]:
        return tensors(entry, model)

    def find(self, folder: Path) -> tuple[Path, ...]:
        """Of an encoder and a decoder, the encoder."""
        found = sorted(folder.glob("*.onnx"))
        paired = any(path.name == ENCODER for path in found)
        return tuple(path for path in found if not (paired and path.name == DECODER))

    def ours(self, folder: Path) -> frozenset[str]:
        """All of the artifact's names, where a graph in `folder` says that edgepack wrote it."""
        left = frozenset(path.name for path in folder.glob(f"{EXPORT}*"))
        graphs = [name for name in (MODEL_FILE, ENCODER) if _is_ours(folder / name)]
        if not graphs:  # a run may have been killed while the exporter worked
            return left
        exported = (path.relative_to(folder).as_posix() for path in side_files(folder))
        names = (MODEL_FILE, DATA_FILE, GENAI_FILE, *SIDE_FILES, ENCODER, DECODER)
        return left.union(names, exported)


def _is_ours(path: Path) -> bool:
    """A file that a run was killed over before it wrote a byte is nobody else's.

    Without the extra nothing can be read, and so nothing is known to be ours.
    """
    try:
        return path.stat().st_size == 0 or written_by(path) == "edgepack"
    except (DamagedInput, Missing, OSError):
        return False
