"""ONNX: a folder that onnxruntime-genai generates from, and onnxruntime runs by itself.

layout     where every tensor lies in the data file
rotary     tables of angles, which the graph wants as tensors
graph      the operators, from the Decoder
genai      genai_config.json
plan       what the files will hold, and the encoder of their tensors
tensors    the initializers of a model, checked
reader     reading an artifact back
"""

from __future__ import annotations

from pathlib import Path

from edgepack.errors import DamagedInput, Missing
from edgepack.formats.artifact import Artifact
from edgepack.formats.onnx.genai import GENAI_FILE
from edgepack.formats.onnx.graph import DATA_FILE, MODEL_FILE
from edgepack.formats.onnx.plan import SIDE_FILES, OnnxPlan
from edgepack.formats.onnx.reader import inspect, written_by
from edgepack.memory import DEFAULT_CONTEXT, Program
from edgepack.models import Checkpoint, Decoder
from edgepack.quant.schemes import Scheme, Schemes, onnx

__all__ = ["Onnx"]


class Onnx:
    """A folder: model.onnx is its entry."""

    name = "onnx"
    suffix = ""
    program: Program = "onnxruntime-genai"
    schemes: Schemes = onnx

    def cache_types(self, decoder: Decoder, scheme: Scheme) -> tuple[str, ...]:
        """K and V are what activations are."""
        return ("f16" if scheme.name == "F16" else "f32",)

    def plan(
        self, checkpoint: Checkpoint, scheme: Scheme, context: int = DEFAULT_CONTEXT
    ) -> OnnxPlan:
        """GenAI makes room for the whole of a conversation before it begins: `context` tokens."""
        return OnnxPlan(checkpoint, scheme, context)

    def inspect(self, path: Path) -> Artifact:
        return inspect(path)

    def find(self, folder: Path) -> tuple[Path, ...]:
        return tuple(sorted(folder.glob("*.onnx")))

    def ours(self, folder: Path) -> frozenset[str]:
        """All of the artifact's names, where the model in `folder` says that edgepack wrote it."""
        if not _is_ours(folder / MODEL_FILE):
            return frozenset()
        return frozenset((MODEL_FILE, DATA_FILE, GENAI_FILE, *SIDE_FILES))


def _is_ours(path: Path) -> bool:
    """A file that a run was killed over before it wrote a byte is nobody else's.

    Without the extra nothing can be read, and so nothing is known to be ours.
    """
    try:
        return path.stat().st_size == 0 or written_by(path) == "edgepack"
    except (DamagedInput, Missing, OSError):
        return False
