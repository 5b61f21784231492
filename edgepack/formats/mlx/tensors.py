"""Decoding an MLX artifact, whoever made it, a slab at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from edgepack.errors import DamagedInput, Unsupported
from edgepack.formats.mlx.modules import AFFINE, BIASES, LEVELS, SCALES, Settings
from edgepack.formats.mlx.reader import read_head
from edgepack.formats.protocol import StoredTensor, Weights
from edgepack.models import TensorRef, Weight
from edgepack.models.decoder import DType
from edgepack.models.safetensors import read_exactly
from edgepack.quant.groups import GroupAffine, Mxfp4, group_affine, mxfp4
from edgepack.quant.schemes.mlx import module

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def tensors(entry: Path, model: Weights) -> Iterator[StoredTensor]:
    """As Format.tensors; what the files have beside the checkpoint's weights is passed over."""
    head = read_head(entry)
    held = {name: ref for shard in head.shards.values() for name, ref in shard.items()}
    quantized = {m.path + LEVELS: m.settings for m in head.modules if m.settings}
    for weight in model.decoder.weights:
        if weight.source is None:
            continue
        ref, settings = held.get(weight.source), quantized.get(weight.source)
        if ref is not None and settings is not None:
            yield _quantized(entry, weight, settings, held)
        elif ref is not None and ref.shape == weight.shape:
            yield StoredTensor(weight, ref.dtype, ref.nbytes, ref.read_rows)
        else:
            has = f"is {list(ref.shape)}" if ref else "is missing"
            raise _other(entry, weight, has)


def _quantized(
    entry: Path, weight: Weight, settings: Settings, held: dict[str, TensorRef]
) -> StoredTensor:
    path = module(weight)
    planes = [ref for end in (LEVELS, SCALES, BIASES) if (ref := held.get(path + end))]
    encoding = _encoding(entry, settings, planes[1].dtype)
    columns, shape = weight.shape[-1], planes[1].shape
    if shape != (*weight.shape[:-1], columns // settings.group) or columns % settings.group:
        raise _other(entry, weight, f"has groups {list(shape)} of {settings.group}")
    size = sum(plane.nbytes for plane in planes)
    return StoredTensor(weight, encoding.name, size, partial(_read, encoding, planes, columns))


def _encoding(entry: Path, settings: Settings, dtype: str) -> GroupAffine | Mxfp4:
    if settings.mode == AFFINE:
        return group_affine(settings.bits, settings.group, cast(DType, dtype))
    if settings.mode == "mxfp4":
        return mxfp4("F32")
    raise Unsupported(f"{entry}: it has {settings.mode} weights, which are not decoded here")


def _read(
    encoding: GroupAffine | Mxfp4, planes: Sequence[TensorRef], columns: int, start: int, stop: int
) -> NDArray[np.float32]:
    return encoding.decode([_rows(plane, start, stop) for plane in planes], columns)


def _rows(plane: TensorRef, start: int, stop: int) -> NDArray[np.uint8]:
    """Rows [start, stop) as bytes."""
    import numpy as np

    row_bytes = plane.nbytes // plane.rows
    offset, count = plane.offset + start * row_bytes, (stop - start) * row_bytes
    raw = read_exactly(plane.file, plane.name, offset, count)
    return np.frombuffer(raw, np.uint8).reshape(stop - start, row_bytes)


def _other(entry: Path, weight: Weight, has: str) -> DamagedInput:
    return DamagedInput(
        f"{entry}: tensor {weight.source} {has}",
        f"the checkpoint's is {list(weight.shape)}: name the one it came from",
    )
