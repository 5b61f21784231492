"""Keys and tensors -> the files of a GGUF, and where in them each tensor lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from edgepack.formats.gguf import split
from edgepack.formats.gguf.header import head
from edgepack.formats.gguf.layout import padded
from edgepack.formats.gguf.metadata import Value
from edgepack.formats.protocol import PlannedFile
from edgepack.models import Weight
from edgepack.quant.schemes import Assignment


class Place(NamedTuple):
    """Where a tensor begins: number of the file, and byte."""

    file: int
    offset: int


def files(
    name: str, values: Mapping[str, Value], tensors: Sequence[Assignment], limit: int | None = None
) -> tuple[tuple[PlannedFile, ...], dict[Weight, Place]]:
    """Tensors in the order given, one after another behind their head.

    One file, `name`.gguf, where `limit` (bytes of a file) does not divide them. Raises UsageError
    as `split.divided` does.
    """
    first, *others = [tensors] if limit is None else split.divided(values, tensors, limit)
    if not others:
        planned, offsets = _file(f"{name}.gguf", values, tensors)
        return (planned,), {w: Place(0, at) for w, at in offsets.items()}
    parts, count = [first, *others], 1 + len(others)
    made: list[PlannedFile] = []
    places: dict[Weight, Place] = {}
    for number, held in enumerate(parts):
        tie = split.keys(number, count, len(tensors))
        pairs = tie if number else {**values, **tie}
        planned, offsets = _file(split.part_name(name, number, count), pairs, held)
        made.append(planned)
        places |= {weight: Place(number, at) for weight, at in offsets.items()}
    return tuple(made), places


def _file(
    name: str, values: Mapping[str, Value], tensors: Sequence[Assignment]
) -> tuple[PlannedFile, dict[Weight, int]]:
    """One file, and where its tensors begin."""
    content = head(values, tensors)
    sizes = [padded(tensor.stored_bytes) for tensor in tensors]
    *offsets, size = accumulate(sizes, initial=len(content))
    weights = (tensor.weight for tensor in tensors)
    return PlannedFile(name, content, size), dict(zip(weights, offsets, strict=True))
