"""Reading an ONNX artifact back, whoever wrote it: weights counted, tensors digested."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgepack.errors import EdgepackError
from edgepack.formats.artifact import Artifact, EncodingCount, FileRecord
from edgepack.formats.digests import TensorExtent, digests_of
from edgepack.formats.onnx.files import graphs_at, side_files
from edgepack.formats.onnx.genai import GENAI_FILE
from edgepack.formats.onnx.plan import SIDE_FILES
from edgepack.formats.onnx.tensors import Stored, damaged, read_model, stored
from edgepack.models.config import read_json
from edgepack.models.source import CONFIG
from edgepack.quant.schemes.exported import INT8
from edgepack.quant.schemes.onnx import FAITHFUL

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

UNKNOWN: Final = "unknown"
WHOLE_NUMBERS: Final = frozenset({"I64", "I32", "BOOL"})
QUANTIZED: Final = "_quantized"
PLANES: Final = (QUANTIZED, "_scale", "_zero_point")
TABLES: Final = {"GroupQueryAttention": slice(7, 9), "RotaryEmbedding": slice(2, 4)}
"""Operator -> its inputs that are cosines and sines."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """What the model means by one or several initializers: `size` is that of all of them.

    `head` is the weight that makes logits.
    """

    encoding: str
    rank: int
    size: int
    head: bool = False


def inspect(path: Path) -> Artifact:
    """Describe the model at `path` and the files beside it. Raises DamagedInput."""
    tensors: list[Tensor] = []
    extents: dict[Path, list[TensorExtent]] = {}
    held: list[tuple[TensorExtent, bytes]] = []
    for graph in graphs_at(path):
        model = read_model(graph)
        initializers = list(stored(graph, model))
        tensors += _tensors(graph, model, initializers)
        extents[graph] = []
        for found in initializers:
            if found.file is not None:
                extents.setdefault(found.file, []).append(_extent(found))
        held += [(_extent(found), found.content) for found in initializers if found.file is None]
    extents |= {file: [] for file in _side_files(path)}
    try:
        wholes, tensor_digest = digests_of(extents, held)
        records = tuple(
            FileRecord(file.relative_to(path.parent).as_posix(), file.stat().st_size, sha256)
            for file, sha256 in zip(extents, wholes, strict=True)
        )
    except (ValueError, OSError) as error:  # it changed since, or tensors overlap
        raise damaged(path, str(error)) from error
    return Artifact(
        format="onnx",
        scheme=_scheme(tensors),
        architecture=_architecture(path),
        files=records,
        tensor_digest=tensor_digest,
        histogram=_histogram(tensors),
    )


def _side_files(path: Path) -> Iterable[Path]:
    """What belongs to a decoder where genai_config.json says it is one, else to an export."""
    if not path.with_name(GENAI_FILE).is_file():
        return side_files(path.parent)
    named = (path.with_name(name) for name in (GENAI_FILE, *SIDE_FILES))
    return [file for file in named if file.is_file()]


def written_by(path: Path) -> str:
    """The program that wrote the model, empty where it does not say. Raises DamagedInput."""
    return str(read_model(path).producer_name)


def _tensors(path: Path, model: ModelProto, initializers: list[Stored]) -> Iterator[Tensor]:
    """Quantized weights with their planes together, then every other initializer by itself.

    A weight is quantized where a node takes it so; tables of angles are no matrices.
    """
    left = {found.name: found for found in initializers}
    heads = {name for n in model.graph.node if "logits" in n.output for name in n.input}
    views = {n.output[0]: n.input[0] for n in model.graph.node if n.op_type == "Reshape"}
    tables: set[str] = set()
    for node in model.graph.node:
        tables.update(node.input[TABLES.get(node.op_type, slice(0))])
        encoding = _encoding(path, node)
        if encoding is None:
            continue
        first = 0 if node.op_type == "GatherBlockQuantized" else 1
        names = [views.get(name, name) for name in (node.input[first], *node.input[2:4])]
        planes = [left.pop(name) for name in names if name in left]
        if planes:  # else another node has had them already
            head = planes[0].name in heads
            yield Tensor(encoding, 2, sum(plane.size for plane in planes), head)
    yield from _dynamic(left)
    for found in left.values():
        rank = 1 if found.name in tables else len(found.shape)
        yield Tensor(found.element, rank, found.size, found.name in heads)


def _dynamic(left: dict[str, Stored]) -> Iterator[Tensor]:
    """Take from `left` the weights of dynamic quantization, by onnxruntime's names for them."""
    for name in [name for name in left if name.endswith(QUANTIZED)]:
        base = name.removesuffix(QUANTIZED)
        planes = [left.pop(part) for end in PLANES if (part := base + end) in left]
        yield Tensor(INT8.name, len(planes[0].shape), sum(plane.size for plane in planes))


def _encoding(path: Path, node: NodeProto) -> str | None:
    """The encoding of the weight that `node` takes, None where it takes floats or nothing.

    Inputs of both operators end with scales and zero points, at 2 and 3.
    """
    if node.op_type not in ("MatMulNBits", "GatherBlockQuantized"):
        return None
    values: dict[str, Any] = {attribute.name: attribute.i for attribute in node.attribute}
    if len(node.input) < 3 or not values.get("block_size"):
        raise damaged(path, f"{node.op_type} {node.name!r} lacks inputs, or its block size")
    asymmetric = len(node.input) > 3 and node.input[3]
    return f"int{values.get('bits', 4)}-g{values['block_size']}{'-asym' if asymmetric else ''}"


def _extent(found: Stored) -> TensorExtent:
    shape = "x".join(map(str, found.shape))
    return TensorExtent(found.name, found.element, shape, found.offset, found.size)


def _scheme(tensors: list[Tensor]) -> str:
    """The scheme that gives every matrix what it has; "unknown" where none does.

    What dynamic quantization leaves in floats, such as a table that is no operator's weight, is
    part of it; whole numbers are never weights.
    """
    if any(tensor.encoding == INT8.name for tensor in tensors):
        return INT8.name
    heads, bodies = (
        {
            tensor.encoding
            for tensor in tensors
            if tensor.rank > 1 and tensor.head is head and tensor.encoding not in WHOLE_NUMBERS
        }
        for head in (True, False)
    )
    return next(
        (
            scheme.name
            for scheme in FAITHFUL
            if bodies == {scheme.matrices.name} and heads <= {scheme.head.name}
        ),
        UNKNOWN,
    )


def _architecture(path: Path) -> str:
    """What a client takes the model for: as genai_config.json says, else config.json."""
    genai, config = path.with_name(GENAI_FILE), path.with_name(CONFIG)
    try:
        if genai.is_file():
            section = read_json(genai).get("model")
            name = section.get("type") if isinstance(section, dict) else None
        else:
            name = read_json(config).get("model_type") if config.is_file() else None
    except EdgepackError as error:
        raise damaged(path, error.message) from error
    return name if isinstance(name, str) and name else UNKNOWN


def _histogram(tensors: list[Tensor]) -> tuple[EncodingCount, ...]:
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for tensor in tensors:
        counts[tensor.encoding] += 1
        sizes[tensor.encoding] += tensor.size
    return tuple(EncodingCount(name, counts[name], size) for name, size in sizes.most_common())
