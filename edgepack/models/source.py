"""`Source`: a folder of safetensors with config.json, whatever kind of model it holds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edgepack.errors import DamagedInput, Missing, UsageError
from edgepack.models import catalogue, hub
from edgepack.models.card import Card, read_card
from edgepack.models.config import read_json
from edgepack.models.digest import sha256_of
from edgepack.models.safetensors import INDEX, TensorRef, read_header, read_index, weight_files

PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")
CONFIG = "config.json"
GENERATION = "generation_config.json"
SIDE_FILES = (
    GENERATION,
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "tokenizer.model",
)


@dataclass(frozen=True, kw_only=True)
class Source(ABC):
    """One model on disk.

    `name` is its hub id or folder name, `revision` the hub commit or None; `shards` the weight
    files, `stamps` their state when opened; `tensors` maps names to where they lie.
    """

    root: Path
    name: str
    revision: str | None
    shards: tuple[Path, ...]
    tensors: Mapping[str, TensorRef]
    stamps: Mapping[Path, Stamp] = field(default_factory=dict)

    @property
    @abstractmethod
    def architecture(self) -> str:
        """What runtimes call this kind of model."""

    @property
    @abstractmethod
    def parameters(self) -> int:
        """Number of stored weights."""

    @property
    @abstractmethod
    def vocabulary(self) -> int:
        """Rows of the embedding."""

    @property
    @abstractmethod
    def context_length(self) -> int:
        """Tokens of the longest sequence it takes."""

    @cached_property
    def card(self) -> Card:
        return read_card(self.root)

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """config.json's raw values, for formats that carry them along."""
        return MappingProxyType(read_json(self.root / CONFIG))

    @property
    def companions(self) -> tuple[Path, ...]:
        """What stands beside config.json and the weights: tokenizer, templates, sampling."""
        side = (self.root / name for name in SIDE_FILES)
        extra = sorted(self.root.glob("chat_template*"))
        return tuple(path for path in (*side, *extra) if path.is_file())

    @property
    def files(self) -> tuple[Path, ...]:
        """Every source file a package depends on, in a fixed order."""
        heads = (self.root / name for name in (CONFIG, INDEX))
        return (*(path for path in heads if path.is_file()), *self.companions, *self.shards)

    def digests(self) -> Iterator[tuple[Path, str]]:
        """(file, sha256) of every source file, one at a time: shards may be large.

        Raises DamagedInput where a shard is no longer the file that was opened: what was read
        from it would be bound to bytes it did not come from.
        """
        for path in self.files:
            digest = sha256_of(path)
            if path in self.stamps:
                check_unchanged({path: self.stamps[path]})
            yield path, digest


Stamp = tuple[int, ...]


def stamp(path: Path) -> Stamp:
    """Which file it is, its size (bytes), and when its content and its state changed (ns)."""
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def check_unchanged(stamps: Mapping[Path, Stamp]) -> None:
    """Raises DamagedInput for a file that is no longer the one that was opened."""
    for path, before in stamps.items():
        if not path.exists() or stamp(path) != before:
            raise DamagedInput(f"{path}: it changed while it was read", "run it again")


def catalogued(source: str) -> str | None:
    """The catalogue's name for `source`, None for what lies here or on the hub."""
    return None if _path(source).exists() else catalogue.match(source)


def locate(source: str, *, weights: bool) -> tuple[Path, str, str | None]:
    """(folder, name, revision) of a folder, a `.safetensors` file in one, or a hub id.

    Raises Missing for what is not there, a catalogue name's weights among it, or UsageError.
    """
    path = _path(source)
    if path.is_file() and path.suffix == ".safetensors":
        path = path.parent  # of the link, where it is one: the hub's cache links into blobs/
    if path.is_dir():
        root = path.resolve()
        _refuse_empty(root)
        return root, root.name, None
    if path.exists():
        raise UsageError(
            f"{source}: not a checkpoint", "give a folder with config.json and .safetensors files"
        )
    named = hub.split_id(source)
    if named is None or source.startswith((".", "/", "~")):
        raise _nowhere(source)
    root, revision = hub.download(*named, weights=weights)
    return root, named[0], revision


def _nowhere(source: str) -> UsageError | Missing:
    if "/" in source or source.startswith((".", "~")) or source.endswith(".safetensors"):
        return Missing(f"{source}: no such folder", "give a checkpoint folder or a hub id org/name")
    name = catalogue.match(source)
    if name is None:
        return catalogue.unknown_model(source)
    return Missing(
        f"{source} is a model of the catalogue, which has shapes and no weights",
        f"fetch them from the hub: give {catalogue.entry(name).repository} instead",
    )


def _path(source: str) -> Path:
    """`source` as a path; raises UsageError for what the system cannot even look for."""
    try:
        path = Path(source).expanduser()
        path.exists()
    except (OSError, RuntimeError) as error:  # RuntimeError: ~nobody
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{source}: {reason}", "give a folder or a hub id org/name") from error
    return path


def _refuse_empty(root: Path) -> None:
    if not (root / "config.json").is_file():
        raise UsageError(
            f"{root}: not a checkpoint: there is no config.json",
            "give a folder with config.json, tokenizer.json and .safetensors files",
        )


def read_shards(root: Path) -> tuple[tuple[Path, ...], dict[str, TensorRef]]:
    """The weight files and their tensors; an index must agree with the shards it names."""
    if (root / INDEX).is_file():
        weight_map = read_index(root / INDEX)
        names = sorted(set(weight_map.values()))
        for name in names:
            if not (root / name).is_file():
                raise Missing(f"{root / name}: shard is missing", f"{INDEX} names it; fetch it")
    else:
        weight_map, names = {}, weight_files(path.name for path in root.iterdir())
    if not names:
        raise _no_weights(root)
    tensors: dict[str, TensorRef] = {}
    for name in names:
        for key, ref in read_header(root / name).items():
            if key in tensors:
                raise DamagedInput(
                    f"{root / name}: tensor {key!r} is also in {tensors[key].file.name}",
                    "a tensor must lie in one shard; remove the files that do not belong",
                )
            tensors[key] = ref
    for key, name in weight_map.items():
        if key not in tensors or tensors[key].file.name != name:
            raise DamagedInput(
                f"{root / INDEX}: tensor {key!r} is not in {name}", "fetch index and shards again"
            )
    return tuple(root / name for name in names), tensors


def _no_weights(root: Path) -> UsageError | Missing:
    pickles = [path.name for pattern in PICKLES for path in sorted(root.glob(pattern))]
    if pickles:
        return UsageError(
            f"{root}: weights are pickled ({pickles[0]}), which can run code when loaded",
            "convert them to safetensors in a place you trust",
        )
    return Missing(f"{root}: no .safetensors files", "fetch the weights")
