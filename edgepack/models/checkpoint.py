"""`Checkpoint`: a folder of safetensors with its config and tokenizer, opened by headers alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeGuard, get_args

from edgepack.errors import DamagedInput
from edgepack.models import catalogue, families, hub
from edgepack.models.config import Config, read_json
from edgepack.models.decoder import Decoder, DType, Weight
from edgepack.models.safetensors import TensorRef
from edgepack.models.source import (
    CONFIG,
    GENERATION,
    Source,
    catalogued,
    locate,
    read_shards,
    stamp,
)
from edgepack.models.tokenizer import Tokenizer, read_tokenizer

CHOOSING = ("temperature", "top_k", "top_p", "min_p")  # what matters only to who samples
SETTING_LIMIT = 1_000_000  # beyond any sampling setting, within what a header can hold
RECOMPUTED = ("rotary_emb.inv_freq", "attn.masked_bias", "rotary_emb.cos_cached")


@dataclass(frozen=True, kw_only=True)
class Checkpoint(Source):
    """A decoder on disk. `skipped` are tensors no reader needs, each with the reason."""

    decoder: Decoder
    skipped: tuple[tuple[str, str], ...]

    @property
    def architecture(self) -> str:
        return self.decoder.gguf.architecture

    @property
    def parameters(self) -> int:
        return self.decoder.parameters

    @property
    def vocabulary(self) -> int:
        return self.decoder.vocabulary

    @property
    def context_length(self) -> int:
        return self.decoder.context_length

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


def open_checkpoint(source: str) -> Checkpoint:
    """Open a folder, a `.safetensors` file in one, or a hub id `org/name[@revision]`.

    Reads headers only. Raises Missing, UsageError, Unsupported or DamagedInput.
    """
    return read_checkpoint(*locate(source, weights=True))


def read_checkpoint(root: Path, name: str, revision: str | None) -> Checkpoint:
    """The checkpoint in the folder `root`. Raises as `open_checkpoint` does."""
    config = Config.read(root / CONFIG)
    decoder = families.decoder(config)
    families.check_precision(config)
    shards, tensors = read_shards(root)
    found = Checkpoint(
        root=root,
        name=name,
        revision=revision,
        shards=shards,
        tensors=tensors,
        stamps={path: stamp(path) for path in shards},
        decoder=decoder,
        skipped=_match(root, decoder, tensors),
    )
    if families.states_dtype(config):
        return found
    # the weights know what config.json does not say
    dtype = next((name for name in get_args(DType) if found.dtypes == {name}), decoder.dtype)
    return replace(found, decoder=replace(decoder, dtype=dtype))


def read_decoder(source: str) -> tuple[str, Decoder]:
    """The name and shape of a model from its config.json: no weights are fetched.

    Where it lies on the hub, and the network is there, the headers of its weights have to agree
    with it. Of a catalogue name, which is none of a folder here, nothing is fetched at all.
    """
    if name := catalogued(source):
        return name, catalogue.entry(name).decoder
    root, name, revision = locate(source, weights=False)
    config = Config.read(root / CONFIG)
    decoder = families.decoder(config)
    if revision is not None and not families.is_quantized(config):
        tensors = hub.tensor_refs(name, revision, root)
        if tensors is not None:
            _match(Path(name), decoder, tensors)
    return name, decoder


def _is_setting(value: object) -> TypeGuard[int | float]:
    """Whether a sampling value is a plain number; a negative one means "off" to its writer."""
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and 0 <= value <= SETTING_LIMIT
    )


def _match(
    root: Path, decoder: Decoder, tensors: Mapping[str, TensorRef]
) -> tuple[tuple[str, str], ...]:
    """Every needed tensor is there in its shape; every other is skipped for a reason or refused."""
    needed = set[str]()
    for weight in decoder.weights:
        shape = weight.shape[1:] if weight.stacked else weight.shape
        for source in weight.sources:
            ref = tensors.get(source)
            if ref is None:
                raise DamagedInput(
                    f"{root}: tensor {source!r} is missing",
                    "config.json asks for it; fetch the weights again",
                )
            if ref.shape != shape and not weight.split:
                raise DamagedInput(
                    f"{ref.file}: tensor {ref.name!r} is {list(ref.shape)}, "
                    f"config.json makes it {list(shape)}",
                    "config.json and the weights do not belong together",
                )
            needed.add(source)
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
