"""Checkpoint and scheme -> what one GGUF file will hold, and the encoder of its slabs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgepack.formats.gguf.files import files
from edgepack.formats.gguf.imatrix import by_weight
from edgepack.formats.gguf.layout import ARCHITECTURE_KEY
from edgepack.formats.gguf.metadata import metadata
from edgepack.formats.protocol import DEFAULTS, Options, Piece
from edgepack.models import Checkpoint, Decoder, Weight, features
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
        """Raises Unsupported for a decoder that cannot be written, UsageError where an importance
        matrix is needed and none is given, and for parts that are too small, DamagedInput for
        another model's matrix, Missing for an encoder that is not installed."""
        self._decoder = checkpoint.decoder
        features.check_known(self._decoder, features.PLAIN, "the GGUF writer")
        tensors = scheme.assign(self._decoder)
        self._encodings = {t.weight: STORED[t.encoding.name] for t in tensors}
        self._importance = by_weight(scheme, self._encodings, options.importance)
        architecture = {ARCHITECTURE_KEY: self._decoder.gguf.architecture}
        values = {**architecture, **metadata(checkpoint, scheme, options.importance)}
        name = f"{checkpoint.name.rsplit('/', 1)[-1]}-{scheme.name}"
        self.files, self._places = files(name, values, tensors, options.split_bytes)

    def encoding(self, weight: Weight) -> Encoding | None:
        return self._encodings[weight]

    def multiple(self, weight: Weight) -> int:
        return rotated_rows(self._decoder, weight)

    def encode(self, weight: Weight, start: int, rows: NDArray[np.float32]) -> tuple[Piece, ...]:
        rows = interleave(rows, self.multiple(weight))
        encoding = self._encodings[weight]
        file, offset = self._places[weight]
        offset += start * encoding.row_bytes(rows.shape[1])
        return (Piece(file, offset, encoding.encode(rows, self._importance.get(weight))),)

    def derived(self) -> Iterator[tuple[Weight, int, NDArray[np.float32]]]:
        for weight in self._encodings:
            if weight.source is None:
                divisors = frequency_divisors(self._decoder.layers[0].attention.rope)
                yield weight, 0, divisors.reshape(1, -1)


def rotated_rows(decoder: Decoder, weight: Weight) -> int:
    """Rows of `weight` that are reordered among themselves: a head's, or 1 where none are."""
    if not decoder.gguf.interleaved_rope or weight.role not in ROTATED_ROLES:
        return 1
    assert weight.layer is not None
    return decoder.layers[weight.layer].attention.head_dim


def interleave(rows: NDArray[np.float32], head_dim: int) -> NDArray[np.float32]:
    """Reorder [heads x head_dim, n]: rotated pairs (i, i + head_dim/2) become (2i, 2i + 1).

    Of a vector, [1, heads x head_dim], the elements; a `head_dim` of 1 leaves all as it is.
    """
    return _exchanged(rows, 2, head_dim // 2)


def separate(rows: NDArray[np.float32], head_dim: int) -> NDArray[np.float32]:
    """Undo `interleave`: neighbours (2i, 2i + 1) become (i, i + head_dim/2)."""
    return _exchanged(rows, head_dim // 2, 2)


def _exchanged(rows: NDArray[np.float32], outer: int, inner: int) -> NDArray[np.float32]:
    """Every head's rows, `outer` x `inner` of them, as `inner` x `outer`."""
    import numpy as np

    if outer * inner == 0:
        return rows
    columns = 1 if len(rows) == 1 else rows.shape[1]
    exchanged = rows.reshape(-1, outer, inner, columns).swapaxes(1, 2)
    return np.ascontiguousarray(exchanged).reshape(rows.shape)
