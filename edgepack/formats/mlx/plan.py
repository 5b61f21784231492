"""Checkpoint and scheme -> the files of an MLX artifact, and the encoder of their tensors."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepack.errors import DamagedInput
from edgepack.formats.mlx import heads, layout
from edgepack.formats.mlx.layout import CONFIG, INDEX, Tensor
from edgepack.formats.protocol import Piece, PlannedFile
from edgepack.models import Checkpoint, Weight
from edgepack.quant.encodings import ENCODINGS, Encoding
from edgepack.quant.schemes.mlx import MlxScheme

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor begins: file number of the plan, and byte."""

    file: int
    offset: int
    row_bytes: int


class MlxPlan:
    """config.json, weight files cut as mlx_lm cuts them, their index, the tokenizer's files."""

    def __init__(self, checkpoint: Checkpoint, scheme: MlxScheme) -> None:
        assigned = scheme.assign(checkpoint.decoder)
        self._encodings = {a.weight: a.encoding for a in assigned}
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
            _whole(CONFIG, config),
            *weights,
            _whole(INDEX, heads.index(files, parameters)),
            *(_whole(path.name, _content(path)) for path in checkpoint.companions),
        )

    def encoding(self, weight: Weight) -> Encoding | None:
        return self._encodings.get(weight)

    def multiple(self, weight: Weight) -> int:
        return 1

    def encode(self, weight: Weight, start: int, rows: NDArray[np.float32]) -> tuple[Piece, ...]:
        planes = _planes(self._encodings[weight], rows)
        return tuple(
            Piece(place.file, place.offset + start * place.row_bytes, plane)
            for place, plane in zip(self._places[weight], planes, strict=True)
        )


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


def _whole(name: str, content: bytes) -> PlannedFile:
    return PlannedFile(name, content, len(content))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DamagedInput(
            f"{path}: cannot be read: {error.strerror}", "the file must be readable"
        ) from error
