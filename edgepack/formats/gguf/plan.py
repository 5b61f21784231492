"""Checkpoint and scheme -> what one GGUF file will hold, and the encoder of its slabs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING

from edgepack.formats.gguf.header import header
from edgepack.formats.gguf.imatrix import by_weight
from edgepack.formats.gguf.layout import padded
from edgepack.formats.gguf.metadata import metadata
from edgepack.formats.protocol import DEFAULTS, Options, Piece, PlannedFile
from edgepack.models import Checkpoint, Weight
from edgepack.models.rope import frequency_divisors
from edgepack.quant.encodings import Encoding
from edgepack.quant.ggml import STORED
from edgepack.quant.schemes.mix import GgufScheme

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ROTATED_ROLES = ("attn_q.weight", "attn_q.bias", "attn_k.weight", "attn_k.bias")


class GgufPlan:
    """Tensors in the order of the decoder's weights, one after another behind the header."""

    def __init__(
        self, checkpoint: Checkpoint, scheme: GgufScheme, options: Options = DEFAULTS
    ) -> None:
        """Raises UsageError where an importance matrix is needed and none is given, DamagedInput
        for another model's, Missing for an encoder that is not installed."""
        self._decoder = checkpoint.decoder
        tensors = scheme.assign(self._decoder)
        self._encodings = {t.weight: STORED[t.encoding.name] for t in tensors}
        self._importance = by_weight(scheme, self._encodings, options.importance)
        values = metadata(checkpoint, scheme, options.importance)
        head = header(self._decoder.gguf.architecture, values, tensors)
        sizes = [padded(tensor.stored_bytes) for tensor in tensors]
        *offsets, size = accumulate(sizes, initial=len(head))
        self._offsets = {t.weight: at for t, at in zip(tensors, offsets, strict=True)}
        base = checkpoint.name.rsplit("/", 1)[-1]
        self.files = (PlannedFile(f"{base}-{scheme.name}.gguf", head, size),)

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
        offset = self._offsets[weight] + start * encoding.row_bytes(rows.shape[1])
        return (Piece(0, offset, encoding.encode(rows, self._importance.get(weight))),)

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
