"""Checkpoint and scheme -> the files of an ONNX artifact, and the encoder of its slabs."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from edgepack import __version__
from edgepack.errors import Unsupported, missing_extra
from edgepack.formats.onnx.genai import (
    GENAI_FILE,
    TOKENIZER_CONFIG,
    genai_config,
    json_bytes,
    tokenizer_config,
)
from edgepack.formats.onnx.graph import DATA_FILE, MODEL_FILE, Graph, model
from edgepack.formats.onnx.layout import layout
from edgepack.formats.protocol import Piece, PlannedFile
from edgepack.memory import DEFAULT_CONTEXT
from edgepack.models import Checkpoint, Decoder, Weight, features, rope
from edgepack.quant.encodings import BlockEncoding, Encoding
from edgepack.quant.nbits import BlockInts
from edgepack.quant.schemes import Scheme

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ACCURACY_LEVEL: Final = 4
"""MatMulNBits multiplies in 8-bit integers.

On a CPU that decodes three to five times as fast with 4-bit weights, and fifty times with 8-bit
ones, as float32 does (level 0 or 1). On fixtures/reasoner it moves the mean KLD from 3.3e-4 to
3.4e-4 in int4-g32-asym-head8, and from 5.6e-6 to 1.6e-5 in int8-g32.
"""
SIDE_FILES: Final = (
    "tokenizer.json",
    TOKENIZER_CONFIG,
    "special_tokens_map.json",
    "chat_template.jinja",
)
HEAD_STEP: Final = 8  # GroupQueryAttention refuses heads of another multiple
POSITIONS: Final = 8192  # rows of a table made at once
_DATA: Final = 1  # index of the data file in `files`


class OnnxPlan:
    """The graph, the data file with every tensor, and what onnxruntime-genai reads."""

    def __init__(
        self, checkpoint: Checkpoint, scheme: Scheme, context: int = DEFAULT_CONTEXT
    ) -> None:
        """Raises Missing without onnx, Unsupported for what the runtime or its config cannot do."""
        if find_spec("onnx") is None:
            raise missing_extra("onnx", "onnx")
        self._decoder = decoder = checkpoint.decoder
        features.check_known(decoder, features.PLAIN, "the ONNX writer")
        _check_heads(decoder)
        tensors = scheme.assign(decoder)
        self._encodings = {tensor.weight: tensor.encoding for tensor in tensors}
        self._layout = layout(tensors)
        graph = Graph(decoder, self._encodings, self._layout, ACCURACY_LEVEL)
        self.files = (
            PlannedFile.whole(MODEL_FILE, model(graph, decoder, __version__).SerializeToString()),
            PlannedFile(DATA_FILE, b"", self._layout.size),
            PlannedFile.whole(GENAI_FILE, json_bytes(genai_config(checkpoint, context))),
            *_side_files(checkpoint),
        )

    def encoding(self, weight: Weight) -> Encoding | None:
        return self._encodings.get(weight)

    def multiple(self, weight: Weight) -> int:
        return 1

    def encode(self, weight: Weight, start: int, rows: NDArray[np.float32]) -> tuple[Piece, ...]:
        encoding = self._encodings[weight]
        if isinstance(encoding, BlockInts):
            encoded = encoding.encode(rows)
            parts = [encoded.levels, encoded.scales, encoded.zeros]
        else:
            assert isinstance(encoding, BlockEncoding)
            parts = [encoding.encode(rows)]
        planes = self._layout.weights[weight]
        return tuple(
            Piece(_DATA, plane.offset + start * plane.row_bytes, part)
            for plane, part in zip(planes, (p for p in parts if p is not None), strict=True)
        )

    def derived(self) -> Iterator[tuple[Weight, int, NDArray[np.float32]]]:
        import numpy as np

        for embedding, pair in rope.tables(self._decoder).items():
            for start in range(0, self._decoder.context_length, POSITIONS):
                stop = min(start + POSITIONS, self._decoder.context_length)
                angles = rope.angles(embedding, start, stop)
                for weight, values in zip(pair, (np.cos(angles), np.sin(angles)), strict=True):
                    yield weight, start, values


def _check_heads(decoder: Decoder) -> None:
    for size in {layer.attention.head_dim for layer in decoder.layers}:
        if size % HEAD_STEP:
            raise Unsupported(
                f"onnxruntime has no attention for heads of {size}",
                f"it takes multiples of {HEAD_STEP}; --to gguf runs this model",
            )


def _side_files(checkpoint: Checkpoint) -> list[PlannedFile]:
    """What the tokenizer needs: as the checkpoint has it, but for TOKENIZER_CONFIG."""
    paths = (checkpoint.root / name for name in SIDE_FILES if name != TOKENIZER_CONFIG)
    copied = (PlannedFile.copy(path) for path in paths if path.is_file())
    return [PlannedFile.whole(TOKENIZER_CONFIG, tokenizer_config(checkpoint)), *copied]
