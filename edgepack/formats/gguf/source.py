"""A GGUF taken for the model to quantize: what llama.cpp's rules ask of it, from its own keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from edgepack.errors import DamagedInput, Unsupported
from edgepack.formats.gguf.inspection import architecture_of, read_parts
from edgepack.formats.gguf.keys import Keys, check_there, model_name, weight_of
from edgepack.formats.gguf.layout import ALIGNMENT, ALIGNMENT_KEY
from edgepack.formats.gguf.metadata import Value
from edgepack.formats.gguf.reader import Head
from edgepack.formats.gguf.tensors import GgufTensor, tensors_of
from edgepack.formats.gguf.values import stored_bytes
from edgepack.models import Decoder, Weight, families
from edgepack.models.decoder import Attention, FeedForward, Layer, Rope
from edgepack.models.families.shared.layout import DEEPEST
from edgepack.models.source import stamp
from edgepack.quant.schemes.mix import quantizable
from edgepack.quant.schemes.rules import DOWN, EMBEDDING, GATE, HEAD, OUT, UP, K, Q, V

_FEED_FORWARD = (f"{part}.weight" for part in (GATE, UP, DOWN))
RULED: Final = frozenset({EMBEDDING, HEAD, Q, K, V, OUT, *_FEED_FORWARD})
"""Matrices of dense decoders; for others, such as experts, llama.cpp has rules of their own."""


@dataclass(frozen=True, slots=True)
class GgufModel:
    """A GGUF opened as a source: Q and K are in its own order, and stay in it."""

    name: str
    decoder: Decoder
    tensors: Mapping[str, GgufTensor]
    values: Mapping[str, Value]
    stamps: Mapping[Path, tuple[int, ...]]

    def ref(self, weight: Weight) -> GgufTensor:
        return self.tensors[weight.name]


def open_gguf(entry: Path) -> GgufModel:
    """The model whose only, or first, file is `entry`; its head is read and nothing else.

    Raises Missing, DamagedInput, and Unsupported for a model that llama.cpp would quantize by rules
    that are not known here.
    """
    check_there(entry)
    parts = read_parts(entry)
    head = parts[entry]
    if head.values.get(ALIGNMENT_KEY, ALIGNMENT) != ALIGNMENT:
        raise Unsupported(
            f"{entry}: {ALIGNMENT_KEY} is {head.values[ALIGNMENT_KEY]}",
            f"llama.cpp quantizes files of {ALIGNMENT}",
        )
    tensors = tensors_of(parts)
    kinds = head.kinds
    return GgufModel(
        name=model_name(entry, head),
        decoder=_decoder(entry, head, tensors),
        tensors=tensors,
        values={key: stored_bytes(kinds[key], value) for key, value in head.values.items()},
        stamps={path: stamp(path) for path in parts},
    )


def _decoder(entry: Path, head: Head, tensors: Mapping[str, GgufTensor]) -> Decoder:
    architecture = architecture_of(entry, head)
    keys = Keys(entry, head, architecture)
    weights = tuple(_weights(entry, tensors))
    embedding = tensors.get(EMBEDDING)
    if embedding is None:
        raise DamagedInput(f"{entry}: there is no {EMBEDDING}", "it must be a language model")
    heads = keys.integer("attention.head_count")
    kv_heads = keys.integer("attention.head_count_kv", heads)
    width = keys.integer("embedding_length")
    head_dim = keys.integer("attention.key_length", width // heads)
    rope = Rope(
        keys.number("rope.freq_base", 10_000.0), keys.integer("rope.dimension_count", head_dim)
    )
    layer = Layer(
        Attention(heads, kv_heads, head_dim, rope),
        FeedForward(keys.integer("feed_forward_length")),
    )
    return Decoder(
        vocabulary=embedding.rows,
        width=width,
        context_length=keys.integer("context_length"),
        layers=(layer,) * keys.integer("block_count", most=DEEPEST),
        norm_epsilon=keys.number("attention.layer_norm_rms_epsilon", 0.0),
        tied_embeddings=HEAD not in tensors,
        weights=weights,
        gguf=replace(families.naming(architecture), interleaved_rope=False),  # they are already
    )


def _weights(entry: Path, tensors: Mapping[str, GgufTensor]) -> Iterator[Weight]:
    """The tensors in the order in which llama-quantize writes them: by layer, then by name.

    Raises Unsupported for a matrix that is none of a dense decoder's.
    """
    weights = [weight_of(tensor.name, tensor.shape) for tensor in tensors.values()]
    for weight in sorted(weights, key=lambda w: (-1 if w.layer is None else w.layer, w.name)):
        if len(weight.shape) > 2 or (quantizable(weight) and weight.role not in RULED):
            raise Unsupported(
                f"{entry}: llama.cpp's rules for {weight.name} {list(weight.shape)} are not known",
                "dense decoders are quantized; llama-quantize takes others",
            )
        yield weight
