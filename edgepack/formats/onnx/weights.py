"""Decoding the weights of an ONNX artifact of edgepack's, a slab at a time.

Others' graphs name, turn and fold their weights as their exporters please.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepack.errors import Unsupported
from edgepack.formats.onnx.tensors import Stored, damaged, read_model, stored
from edgepack.formats.protocol import StoredTensor, Weights
from edgepack.models import Weight
from edgepack.models.safetensors import read_exactly
from edgepack.quant.encodings import ENCODINGS
from edgepack.quant.nbits import BlockInts, Planes, ScaleType, block_ints

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from onnx import ModelProto

FLOATS = ("F32", "F16")


def tensors(entry: Path, model: Weights) -> Iterator[StoredTensor]:
    """As Format.tensors. Raises Unsupported for a graph that names its weights otherwise."""
    graph = read_model(entry)
    held = {found.name: found for found in stored(entry, graph)}
    blocks = _blocks(graph)
    for weight in model.decoder.weights:
        if weight.source is None:
            continue
        found = held.get(weight.name)
        if found is None:
            raise Unsupported(
                f"{entry}: there is no tensor {weight.name}",
                "of ONNX models, those that edgepack wrote are decoded",
            )
        if weight.name in blocks:
            yield _quantized(entry, weight, *blocks[weight.name], held)
        elif found.element in FLOATS and found.shape == weight.shape:
            yield StoredTensor(weight, found.element, found.size, partial(_floats, found))
        else:
            raise _other(entry, weight, found)


def _blocks(model: ModelProto) -> dict[str, tuple[int, int]]:
    """Levels that a MatMulNBits takes -> (bits, weights in a block)."""
    found: dict[str, tuple[int, int]] = {}
    for node in model.graph.node:
        values: dict[str, Any] = {attribute.name: attribute.i for attribute in node.attribute}
        if node.op_type == "MatMulNBits" and len(node.input) > 2:
            found[node.input[1]] = values.get("bits", 4), values.get("block_size", 0)
    return found


def _quantized(
    entry: Path, weight: Weight, bits: int, block: int, held: dict[str, Stored]
) -> StoredTensor:
    levels, scales = held[weight.name], held.get(f"{weight.name}.scales")
    zeros = held.get(f"{weight.name}.zeros")
    if scales is None or bits not in (4, 8) or not block:
        raise _other(entry, weight, levels)
    scale: ScaleType = "F16" if scales.element == "F16" else "F32"
    encoding = block_ints(bits, block, symmetric=zeros is None, scale=scale)
    planes = [plane for plane in (levels, scales, zeros) if plane]
    rows, columns = weight.shape
    wanted = tuple(rows * size for size in encoding.plane_bytes(columns) if size)
    if tuple(plane.size for plane in planes) != wanted:
        raise _other(entry, weight, levels)
    size = sum(wanted)
    return StoredTensor(
        weight, encoding.name, size, partial(_ints, encoding, planes, rows, columns)
    )


def _ints(
    encoding: BlockInts, planes: list[Stored], rows: int, columns: int, start: int, stop: int
) -> NDArray[np.float32]:
    import numpy as np

    levels, scales, *zeros = (_bytes(plane, rows, start, stop) for plane in planes)
    blocks = levels.reshape(stop - start, encoding.blocks(columns), -1)
    scale = scales.view(np.float16) if encoding.scale == "F16" else scales.view(np.float32)
    return encoding.decode(Planes(blocks, scale, zeros[0] if zeros else None), columns)


def _floats(found: Stored, start: int, stop: int) -> NDArray[np.float32]:
    raw = _bytes(found, prod(found.shape[:-1]), start, stop)
    return ENCODINGS[found.element].decode(raw, found.shape[-1])


def _bytes(found: Stored, rows: int, start: int, stop: int) -> NDArray[np.uint8]:
    """Rows [start, stop) of `rows`, as bytes [n, row bytes]."""
    import numpy as np

    row_bytes = found.size // rows
    offset, count = found.offset + start * row_bytes, (stop - start) * row_bytes
    raw: bytes | bytearray = found.content[offset : offset + count]
    if found.file is not None:
        raw = read_exactly(found.file, found.name, offset, count)
    return np.frombuffer(raw, np.uint8).reshape(stop - start, row_bytes)


def _other(entry: Path, weight: Weight, found: Stored) -> Exception:
    has = f"tensor {weight.name} is {found.element}{list(found.shape)}"
    return damaged(entry, f"{has}, in the checkpoint it is {list(weight.shape)}")
