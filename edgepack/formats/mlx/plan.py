"""Checkpoint and scheme -> the files of an MLX artifact, and the encoder of their tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from edgepack.errors import Unsupported
from edgepack.formats.mlx import heads, layout
from edgepack.formats.mlx.layout import CONFIG, INDEX, Tensor
from edgepack.formats.protocol import Piece, PlannedFile
from edgepack.models import Checkpoint, Decoder, Weight, features
from edgepack.quant.encodings import ENCODINGS, Encoding
from edgepack.quant.groups import GROUPS
from edgepack.quant.schemes import Assignment
from edgepack.quant.schemes.mlx import MlxScheme

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Cast = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor begins: file number of the plan, and byte."""

    file: int
    offset: int
    row_bytes: int


class MlxPlan:
    """config.json, weight files cut as mlx_lm cuts them, their index, the tokenizer's files."""

    def __init__(self, checkpoint: Checkpoint, scheme: MlxScheme) -> None:
        """Raises Unsupported for what mlx_lm cannot load, and where no weight can be quantized."""
        features.check_known(checkpoint.decoder, features.PLAIN, "the MLX writer")
        _check_expressible(checkpoint.decoder)
        assigned = scheme.assign(checkpoint.decoder)
        _check_quantized(scheme, assigned)
        self._encodings = {a.weight: a.encoding for a in assigned}
        self._cast = _cast(checkpoint, scheme)
        tensors = {a.weight: layout.tensors(a) for a in assigned}
        shards = layout.shards(t for held in tensors.values() for t in held)
        files = dict(zip(layout.shard_names(len(shards)), shards, strict=True))
        parameters = sum(a.weight.elements for a in assigned)
        config = heads.config(checkpoint.config, checkpoint.decoder, scheme, assigned)
        weights, places = _weight_files(files, first=1)
        self._places = {
            weight: tuple(places[t.name] for t in held) for weight, held in tensors.items()
        }
        self.files = (
            PlannedFile.whole(CONFIG, config),
            *weights,
            PlannedFile.whole(INDEX, heads.index(files, parameters)),
            *map(PlannedFile.copy, checkpoint.companions),
        )

    def encoding(self, weight: Weight) -> Encoding | None:
        return self._encodings.get(weight)

    def multiple(self, weight: Weight) -> int:
        return 1

    def encode(self, weight: Weight, start: int, rows: NDArray[np.float32]) -> tuple[Piece, ...]:
        planes = _planes(self._encodings[weight], self._cast(rows))
        return tuple(
            Piece(place.file, place.offset + start * place.row_bytes, plane)
            for place, plane in zip(self._places[weight], planes, strict=True)
        )

    def derived(self) -> Iterator[tuple[Weight, int, NDArray[np.float32]]]:
        """mlx_lm computes its own angles."""
        return iter(())


def _check_expressible(decoder: Decoder) -> None:
    """mlx_lm's model of heads that are normed has no place for biases."""
    if any(layer.attention.qk_norm and layer.attention.qkv_bias for layer in decoder.layers):
        raise Unsupported(
            "mlx_lm has no model with both normed heads and attention biases",
            "--to gguf and --to onnx have",
        )


def _check_quantized(scheme: MlxScheme, assigned: Iterable[Assignment]) -> None:
    """A scheme of few bits under which nothing gets them would be a full-sized lie."""
    if scheme.mode == "float" or any(isinstance(a.encoding, layout.QUANTIZED) for a in assigned):
        return
    smaller = "; --group 32 may" if scheme.group > min(GROUPS) else ""
    raise Unsupported(
        f"{scheme.name} quantizes no weight of this model: no row is whole groups of "
        f"{scheme.group}",
        f"--scheme BF16 stores it as it is{smaller}",
    )


def _cast(checkpoint: Checkpoint, scheme: MlxScheme) -> Cast:
    """What mlx_lm does to weights before it rounds them: they get the model's own type.

    A search has no use for that: it starts from the weights as they are stored.
    """
    dtype = checkpoint.decoder.dtype
    if not scheme.plain or checkpoint.dtypes == {dtype}:
        return lambda rows: rows
    encoding = ENCODINGS[dtype]
    return lambda rows: encoding.decode(encoding.encode(rows), rows.shape[1])


def _planes(encoding: Encoding, rows: NDArray[np.float32]) -> tuple[NDArray[Any], ...]:
    if isinstance(encoding, layout.QUANTIZED):
        return encoding.encode(rows)
    return (ENCODINGS[encoding.name].encode(rows),)


def _weight_files(
    files: dict[str, list[Tensor]], first: int
) -> tuple[list[PlannedFile], dict[str, Place]]:
    """The weight files, numbered from `first` on, and where each tensor lies."""
    planned, places = [], {}
    for number, (name, tensors) in enumerate(files.items(), start=first):
        head = heads.header(tensors)
        *offsets, size = accumulate((tensor.size for tensor in tensors), initial=len(head))
        planned.append(PlannedFile(name, head, size))
        for tensor, offset in zip(tensors, offsets, strict=True):
            places[tensor.name] = Place(number, offset, tensor.row_bytes)
    return planned, places
