"""Reading an MLX artifact back, whoever wrote it: planes checked, modules counted, digests.

A folder with config.json, one or more safetensors files that mlx_lm would load, and beside them
whatever the tokenizer needs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepack.errors import DamagedInput, Missing
from edgepack.formats.artifact import Artifact, EncodingCount, FileRecord
from edgepack.formats.digests import TensorExtent, digests_of
from edgepack.formats.mlx.heads import MADE_BY
from edgepack.formats.mlx.layout import INDEX, WEIGHTS
from edgepack.formats.mlx.modules import Module, damaged, read_modules
from edgepack.models import TensorRef
from edgepack.models.config import read_json
from edgepack.models.digest import sha256_of
from edgepack.models.safetensors import read_header, read_index, read_metadata
from edgepack.models.source import SIDE_FILES
from edgepack.quant.schemes.mlx import RECIPES, SCHEMES, layer_of, module_bits


@dataclass(frozen=True, slots=True)
class Head:
    """What config.json and the headers say; `shards` are the weight files with their tensors."""

    architecture: str
    shards: Mapping[Path, Mapping[str, TensorRef]]
    modules: tuple[Module, ...]


def inspect(entry: Path) -> Artifact:
    """Describe the artifact whose config.json is `entry`. Raises DamagedInput."""
    head = read_head(entry)
    extents = {path: [_extent(ref) for ref in held.values()] for path, held in head.shards.items()}
    try:
        wholes, tensor_digest = digests_of(extents)
        others = [(path, sha256_of(path)) for path in (entry, *_companions(entry))]
        records = [
            FileRecord(path.name, path.stat().st_size, digest)
            for path, digest in (others[0], *zip(head.shards, wholes, strict=True), *others[1:])
        ]
    except (ValueError, OSError) as error:  # it changed since
        raise damaged(entry, str(error)) from error
    return Artifact(
        format="mlx",
        scheme=_scheme(head.modules),
        architecture=head.architecture,
        files=tuple(records),
        tensor_digest=tensor_digest,
        histogram=_histogram(head.modules),
    )


def read_head(entry: Path) -> Head:
    """Read all of an artifact but its tensors. Raises DamagedInput for planes that do not fit."""
    config = _read(entry)
    architecture = config.get("model_type")
    if not isinstance(architecture, str) or not architecture:
        raise damaged(entry, f"model_type is {architecture!r}, not a name")
    shards = _shards(entry)
    tensors = {name: ref for held in shards.values() for name, ref in held.items()}
    return Head(architecture, shards, read_modules(entry, _quantization(entry, config), tensors))


def _shards(entry: Path) -> dict[Path, dict[str, TensorRef]]:
    """The weight files that mlx_lm loads, and their tensors, as the index has them if there is one.

    Raises DamagedInput.
    """
    folder = entry.parent
    paths = sorted(path for path in folder.glob(WEIGHTS) if path.is_file())
    if not paths:
        raise damaged(entry, f"beside it there is no {WEIGHTS}")
    shards = {path: read_header(path) for path in paths}
    places: dict[str, str] = {}
    for path, held in shards.items():
        for name in held:
            if name in places:
                raise damaged(path, f"tensor {name} is also in {places[name]}")
            places[name] = path.name
    if (folder / INDEX).is_file() and read_index(folder / INDEX) != places:
        raise damaged(folder / INDEX, "it does not name the tensors that are in the files")
    return shards


def is_mlx(path: Path) -> bool:
    """Whether a weight file says that it is MLX's: a checkpoint's has the same name."""
    try:
        return read_metadata(path).get("format") == "mlx"
    except DamagedInput:
        return False


def written_by(path: Path) -> str:
    """The program that wrote a weight file, empty where it does not say. Raises DamagedInput."""
    name = read_metadata(path).get(MADE_BY, "")
    return name if isinstance(name, str) else ""


def _read(entry: Path) -> dict[str, Any]:
    try:
        return read_json(entry)
    except Missing as error:
        raise damaged(entry, "there is no such file") from error


def _quantization(entry: Path, config: Mapping[str, Any]) -> Mapping[str, Any]:
    block = config.get("quantization") or {}
    if not isinstance(block, dict):
        raise damaged(entry, f"its quantization is a {type(block).__name__}, not an object")
    return block


def _companions(entry: Path) -> Iterable[Path]:
    """What belongs to the artifact beside config.json and the weights."""
    folder = entry.parent
    named = (folder / name for name in (INDEX, *SIDE_FILES))
    return [p for p in (*named, *sorted(folder.glob("chat_template*"))) if p.is_file()]


def _extent(ref: TensorRef) -> TensorExtent:
    shape = "x".join(map(str, ref.shape))
    return TensorExtent(ref.name, ref.dtype, shape, ref.offset, ref.nbytes)


def _histogram(modules: Iterable[Module]) -> tuple[EncodingCount, ...]:
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for module in modules:
        counts[module.encoding] += 1
        sizes[module.encoding] += module.size
    return tuple(EncodingCount(name, counts[name], size) for name, size in sizes.most_common())


def _scheme(modules: Iterable[Module]) -> str:
    """The scheme that gives every module what it has; "unknown" where none does."""
    quantized = {m.path: m.settings for m in modules if m.settings}
    names = {settings.name for settings in quantized.values()} or {m.encoding for m in modules}
    if len(names) == 1:
        (name,) = names
        return name if name in SCHEMES else "unknown"
    if not quantized:
        return "unknown"
    layers = 1 + max(layer_of(path) for path in quantized)
    for recipe in RECIPES:
        group = SCHEMES[recipe].group
        if all(
            settings.name == f"{module_bits(recipe, path, layers)}bit-g{group}"
            for path, settings in quantized.items()
        ):
            return recipe
    return "unknown"
