"""`Checkpoint`: a folder of safetensors with its config and tokenizer, opened by headers alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeGuard, get_args

from edgepack.errors import DamagedInput, Missing, UsageError
from edgepack.models import families, hub
from edgepack.models.card import Card, read_card
from edgepack.models.config import Config, read_json
from edgepack.models.decoder import Decoder, DType, Weight
from edgepack.models.digest import sha256_of
from edgepack.models.safetensors import INDEX, TensorRef, read_header, read_index, weight_files
from edgepack.models.tokenizer import Tokenizer, read_tokenizer

PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")
CONFIG = "config.json"
GENERATION = "generation_config.json"
CHOOSING = ("temperature", "top_k", "top_p", "min_p")  # what matters only to who samples
SIDE_FILES = (
    GENERATION,
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "tokenizer.model",
)
SETTING_LIMIT = 1_000_000  # beyond any sampling setting, within what a header can hold
RECOMPUTED = ("rotary_emb.inv_freq", "attn.masked_bias", "rotary_emb.cos_cached")


@dataclass(frozen=True)
class Checkpoint:
    """One model on disk.

    `name` is its hub id or folder name, `revision` the hub commit or None; `shards` the weight
    files, `stamps` their state when opened; `tensors` maps names to where they lie; `skipped` are
    tensors no reader needs, each
    with the reason.
    """

    root: Path
    name: str
    revision: str | None
    decoder: Decoder
    shards: tuple[Path, ...]
    tensors: Mapping[str, TensorRef]
    skipped: tuple[tuple[str, str], ...]
    stamps: Mapping[Path, tuple[int, int]] = field(default_factory=dict)

    def ref(self, weight: Weight) -> TensorRef:
        """Where `weight` lies; every weight of `decoder` was found when the checkpoint opened."""
        assert weight.source is not None, weight.role
        return self.tensors[weight.source]

    @property
    def dtypes(self) -> frozenset[str]:
        """The types that its weights are stored in."""
        return frozenset(self.ref(weight).dtype for weight in self.decoder.weights if weight.source)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return read_tokenizer(self.root, self.decoder.vocabulary)

    @cached_property
    def card(self) -> Card:
        return read_card(self.root)

    @cached_property
    def sampling(self) -> Mapping[str, float]:
        """The numbers of generation_config.json that say how to sample, if it says so."""
        found = {key: self._generation.get(key) for key in (*CHOOSING, "repetition_penalty")}
        return {key: float(v) for key, v in found.items() if _is_setting(v)}

    @property
    def samples(self) -> bool:
        """Whether it is to sample: as it says, else if it says how to choose among tokens."""
        stated = self._generation.get("do_sample")
        return stated if isinstance(stated, bool) else any(key in self.sampling for key in CHOOSING)

    @cached_property
    def _generation(self) -> Mapping[str, Any]:
        path = self.root / GENERATION
        return read_json(path) if path.exists() else {}

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """config.json's raw values, for formats that carry them along; `decoder` describes."""
        return MappingProxyType(read_json(self.root / CONFIG))

    @property
    def companions(self) -> tuple[Path, ...]:
        """What stands beside config.json and the weights: tokenizer, templates, sampling."""
        side = (self.root / name for name in SIDE_FILES)
        extra = sorted(self.root.glob("chat_template*"))
        return tuple(path for path in (*side, *extra) if path.is_file())

    @cached_property
    def stop_ids(self) -> tuple[int, ...]:
        """Every token that ends a turn: the tokenizer's, then all that generation_config.json has.

        config.json is asked where generation_config.json says nothing.
        """
        stated = self._generation.get("eos_token_id")
        if stated is None:
            stated = self.config.get("eos_token_id")
        listed = stated if isinstance(stated, list) else [stated]
        ids = (self.tokenizer.eos_id, *listed)
        known = (i for i in ids if type(i) is int and 0 <= i < self.decoder.vocabulary)
        return tuple(dict.fromkeys(known))

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
            if path in self.stamps and _stamp(path) != self.stamps[path]:
                raise DamagedInput(f"{path}: it changed while it was read", "run it again")
            yield path, digest


def open_checkpoint(source: str) -> Checkpoint:
    """Open a folder, a `.safetensors` file in one, or a hub id `org/name[@revision]`.

    Reads headers only. Raises Missing, UsageError, Unsupported or DamagedInput.
    """
    root, name, revision = _locate(source, weights=True)
    config = Config.read(root / CONFIG)
    decoder = families.decoder(config)
    shards, tensors = _read_shards(root)
    skipped = _match(root, decoder, tensors)
    stamps = {path: _stamp(path) for path in shards}
    found = Checkpoint(root, name, revision, decoder, shards, tensors, skipped, stamps)
    if families.states_dtype(config):
        return found
    # the weights know what config.json does not say
    dtype = next((name for name in get_args(DType) if found.dtypes == {name}), decoder.dtype)
    return replace(found, decoder=replace(decoder, dtype=dtype))


def _stamp(path: Path) -> tuple[int, int]:
    """Time of the last change (ns) and size (bytes)."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def read_decoder(source: str) -> tuple[str, Decoder]:
    """The name and shape of a model from its config.json alone: no weights are fetched."""
    root, name, _ = _locate(source, weights=False)
    return name, families.decoder(Config.read(root / "config.json"))


def _is_setting(value: object) -> TypeGuard[int | float]:
    """Whether a sampling value is a plain number; a negative one means "off" to its writer."""
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and 0 <= value <= SETTING_LIMIT
    )


def _locate(source: str, *, weights: bool) -> tuple[Path, str, str | None]:
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
        raise Missing(f"{source}: no such folder", "give a checkpoint folder or a hub id org/name")
    root, revision = hub.download(*named, weights=weights)
    return root, named[0], revision


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


def _read_shards(root: Path) -> tuple[tuple[Path, ...], dict[str, TensorRef]]:
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


def _match(
    root: Path, decoder: Decoder, tensors: Mapping[str, TensorRef]
) -> tuple[tuple[str, str], ...]:
    """Every needed tensor is there in its shape; every other is skipped for a reason or refused."""
    stored = [weight for weight in decoder.weights if weight.source is not None]
    for weight in stored:
        ref = tensors.get(str(weight.source))
        if ref is None:
            raise DamagedInput(
                f"{root}: tensor {weight.source!r} is missing",
                "config.json asks for it; fetch the weights again",
            )
        if ref.shape != weight.shape:
            raise DamagedInput(
                f"{ref.file}: tensor {ref.name!r} is {list(ref.shape)}, "
                f"config.json makes it {list(weight.shape)}",
                "config.json and the weights do not belong together",
            )
    needed = {weight.source for weight in stored}
    skipped: list[tuple[str, str]] = []
    for name in sorted(set(tensors) - needed):
        if name.endswith(RECOMPUTED):
            skipped.append((name, "recomputed from config.json"))
        elif name == "lm_head.weight" and decoder.tied_embeddings:
            skipped.append((name, "tied to the embedding"))
        else:
            raise DamagedInput(
                f"{tensors[name].file}: tensor {name!r} has no place in this architecture",
                "a variant edgepack does not know; it is refused rather than dropped",
            )
    return tuple(skipped)
