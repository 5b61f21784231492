"""What writing and reading share: names of files and modules, and the tensors a weight becomes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgepack.models import Weight
from edgepack.models.safetensors import ITEM_BYTES
from edgepack.quant.encodings import Encoding
from edgepack.quant.groups import GroupAffine, Mxfp4, Plane
from edgepack.quant.schemes import Assignment
from edgepack.quant.schemes.mlx import module

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
WEIGHTS = "model*.safetensors"  # what mlx_lm loads: all that match
SHARD_BYTES = 5 << 30  # mlx_lm's MAX_FILE_SIZE_GB

QUANTIZED = (GroupAffine, Mxfp4)


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a file: a weight in floats, or one plane of a quantized one."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    row_bytes: int
    size: int


def tensors(assignment: Assignment) -> tuple[Tensor, ...]:
    """The tensors of one weight, in the order in which its encoding gives their rows."""
    weight, encoding = assignment.weight, assignment.encoding
    if isinstance(encoding, QUANTIZED):
        return tuple(_plane(weight, plane) for plane in encoding.planes(weight.shape[-1]))
    row_bytes, size = encoding.row_bytes(weight.shape[-1]), assignment.stored_bytes
    return (Tensor(str(weight.source), encoding.name, weight.shape, row_bytes, size),)


def _plane(weight: Weight, plane: Plane) -> Tensor:
    rows = weight.elements // weight.shape[-1]
    shape = (*weight.shape[:-1], plane.columns)
    name = f"{module(weight)}.{plane.suffix}"
    return Tensor(name, plane.dtype, shape, plane.row_bytes, rows * plane.row_bytes)


def shards(tensors: Iterable[Tensor]) -> list[list[Tensor]]:
    """Files of at most SHARD_BYTES, filled in order; a larger tensor has one to itself.

    Within a file the widest items come first, so that every tensor is aligned to its own.
    """
    files: list[list[Tensor]] = []
    filled = 0
    for tensor in tensors:
        if not files or filled + tensor.size > SHARD_BYTES:
            files.append([])
            filled = 0
        files[-1].append(tensor)
        filled += tensor.size
    return [sorted(file, key=lambda t: (-ITEM_BYTES[t.dtype], t.name)) for file in files]


def shard_names(count: int) -> list[str]:
    if count == 1:
        return ["model.safetensors"]
    return [f"model-{i:05d}-of-{count:05d}.safetensors" for i in range(1, count + 1)]


def quantization(encoding: Encoding) -> dict[str, int | str] | None:
    """How config.json tells of `encoding`; None for floats."""
    if isinstance(encoding, GroupAffine):
        return {"group_size": encoding.block, "bits": encoding.bits, "mode": "affine"}
    if isinstance(encoding, Mxfp4):
        return {"group_size": encoding.block, "bits": 4, "mode": "mxfp4"}
    return None
