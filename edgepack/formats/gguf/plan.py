"""Checkpoint and scheme -> what one GGUF file will hold, and the encoder of its slabs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgepack.formats.gguf.files import files
from edgepack.formats.gguf.layout import ARCHITECTURE_KEY
from edgepack.formats.gguf.metadata import metadata
from edgepack.formats.protocol import DEFAULTS, Options, Piece
from edgepack.models import Checkpoint, Weight
from edgepack.models.rope import frequency_divisors
from edgepack.quant.encodings import ENCODINGS, Encoding
from edgepack.quant.schemes import Scheme

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ROTATED_ROLES = ("attn_q.weight", "attn_q.bias", "attn_k.weight", "attn_k.bias")


class GgufPlan:
    """Tensors in the order of the decoder's weights, one after another behind the header."""

    def __init__(self, checkpoint: Checkpoint, scheme: Scheme, options: Options = DEFAULTS) -> None:
        """Raises Unsupported for what no GGUF can say, UsageError for parts that are too small."""
        self._decoder = checkpoint.decoder
        tensors = scheme.assign(self._decoder)
        architecture = {ARCHITECTURE_KEY: self._decoder.gguf.architecture}
        values = {**architecture, **metadata(checkpoint, scheme)}
        name = f"{checkpoint.name.rsplit('/', 1)[-1]}-{scheme.name}"
        self._encodings = {t.weight: ENCODINGS[t.encoding.name] for t in tensors}
        self.files, self._places = files(name, values, tensors, options.split_bytes)

    def encoding(self, weight: Weight) -> Encoding | None:
        return self._encodings[weight]

    def multiple(self, weight: Weight) -> int:
        """Whole heads where rotary pairs must become neighbours."""
        decoder = self._decoder
        if not decoder.gguf.interleaved_rope or weight.role not in ROTATED_ROLES:
            return 1
        assert weight.layer is not None
        return decoder.layers[weight.layer].attention.head_dim

    def encode(self, weight: Weight, start: int, rows: NDArray[np.float32]) -> tuple[Piece, ...]:
        head_dim = self.multiple(weight)
        if head_dim > 1:
            heads = rows.reshape(-1, 1) if len(weight.shape) == 1 else rows
            rows = interleave(heads, head_dim).reshape(rows.shape)
        encoding = self._encodings[weight]
        file, offset = self._places[weight]
        offset += start * encoding.row_bytes(rows.shape[1])
        return (Piece(file, offset, encoding.encode(rows)),)

    def derived(self) -> Iterator[tuple[Weight, int, NDArray[np.float32]]]:
        for weight in self._encodings:
            if weight.source is None:
                divisors = frequency_divisors(self._decoder.layers[0].attention.rope)
                yield weight, 0, divisors.reshape(1, -1)


def interleave(rows: NDArray[np.float32], head_dim: int) -> NDArray[np.float32]:
    """Reorder [heads x head_dim, n]: rotated pairs (i, i + head_dim/2) become (2i, 2i + 1)."""
    import numpy as np

    halves = rows.reshape(-1, 2, head_dim // 2, rows.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(rows.shape)
