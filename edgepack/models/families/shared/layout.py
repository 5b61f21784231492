"""What families share: how a config's common keys become a Decoder's facts, and its frame.

The tensors of a block are in `parts`, the rotary embedding in `rotary`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Final

from edgepack.errors import DamagedInput, Unsupported
from edgepack.models.config import Config
from edgepack.models.decoder import (
    Activation,
    Decoder,
    DType,
    GgufNaming,
    Layer,
    RopeScaling,
    Weight,
)
from edgepack.models.families.shared.parts import FRAME, Block, Frame

DTYPES: Mapping[str, DType] = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
DEEPEST = 10_000  # layers; a config may state any number, and each one takes memory
MOST_EXPERTS = 100_000  # as many, for the same reason
FULL: Final = "full_attention"
SLIDING: Final = "sliding_attention"
KINDS = (FULL, SLIDING)

ACTIVATIONS: Mapping[str, Activation] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "relu2": "relu2",
}


def assemble(
    config: Config,
    layers: tuple[Layer, ...],
    weights: Callable[[Block, Layer], Iterable[Weight]],
    *,
    gguf: GgufNaming,
    context_length: int,
    frame: Frame = FRAME,
    epsilon: tuple[str, float] = ("rms_norm_eps", 1e-6),
    tied: bool = False,
) -> Decoder:
    """A Decoder of these `layers`, whose tensors `weights` names block by block.

    `epsilon` is the key of the norms' epsilon and what the family takes where the config says
    nothing; so is `tied`.
    """
    width, vocabulary = config.integer("hidden_size"), config.integer("vocab_size")
    tied = config.flag("tie_word_embeddings", tied)
    blocks = (Block(index, width, frame.prefix) for index in range(len(layers)))
    inside = (weights(block, layer) for block, layer in zip(blocks, layers, strict=True))
    return Decoder(
        vocabulary=vocabulary,
        width=width,
        context_length=context_length,
        layers=layers,
        norm_epsilon=config.number(*epsilon),
        tied_embeddings=tied,
        weights=(
            frame.embedding(vocabulary, width),
            *chain.from_iterable(inside),
            *frame.output_norms(width),
            *_rotary_weights(layers),
            *(() if tied else frame.head(vocabulary, width)),
        ),
        gguf=gguf,
        dtype=dtype(config),
        head_bias=frame.head_bias and not tied,
    )


def _rotary_weights(layers: tuple[Layer, ...]) -> Iterator[Weight]:
    """What llama.cpp reads from the file of the first scaled embedding: divisors of frequencies."""
    ropes = (layer.attention.rope for layer in layers)
    first = next((rope for rope in ropes if rope.scaling), None)
    if first is None or first.scaling is None:
        return
    for role in _divisor_roles(first.scaling):
        yield Weight(role, None, (first.dimensions // 2,), None)


def _divisor_roles(scaling: RopeScaling) -> tuple[str, ...]:
    if scaling.kind == "llama3":
        return ("rope_freqs.weight",)
    if scaling.kind == "longrope":
        return ("rope_factors_long.weight", "rope_factors_short.weight")
    return ()


def depth(config: Config) -> int:
    """Layers. Raises DamagedInput for more than any model has."""
    return bounded(config, "num_hidden_layers", DEEPEST)


def bounded(config: Config, key: str, most: int) -> int:
    """A positive integer of at most `most`."""
    found = config.integer(key)
    if found > most:
        raise DamagedInput(f"{config.path}: {key} is {found}", f"it must be at most {most}")
    return found


def count(config: Config, key: str, default: int = 0) -> int:
    """A whole number that may be 0."""
    value = config.values.get(key, default)
    return 0 if type(value) is int and value == 0 else config.integer(key, default)


def heads(config: Config, default_dim: int | None = None) -> tuple[int, int, int]:
    """Heads of Q, heads of K and V, elements of a head.

    `head_dim` where the config gives it, else `default_dim`, else the width over the heads.
    Raises DamagedInput where the numbers do not divide.
    """
    width, queries = config.integer("hidden_size"), config.integer("num_attention_heads")
    shared = config.integer("num_key_value_heads", queries)
    if queries % shared:
        raise DamagedInput(
            f"{config.path}: {queries} attention heads, {shared} key/value heads",
            "num_attention_heads must be a multiple of num_key_value_heads",
        )
    size = config.optional_integer("head_dim") or default_dim
    if size is None:
        if width % queries:
            raise DamagedInput(
                f"{config.path}: hidden_size {width} over {queries} heads is not whole",
                "give head_dim, or a hidden_size that the heads divide",
            )
        size = width // queries
    return queries, shared, size


def activation(config: Config, *keys: str, default: str = "silu") -> Activation:
    """The first of `keys` that the config has. Raises Unsupported for one without a name here."""
    given = [key for key in keys if config.values.get(key) is not None]
    key = given[0] if given else keys[0]
    name = config.text(key, default)
    if name not in ACTIVATIONS:
        raise Unsupported(
            f"{config.path}: {key} is {name!r}", f"supported: {', '.join(ACTIVATIONS)}"
        )
    return ACTIVATIONS[name]


def dtype(config: Config) -> DType:
    """`dtype` (transformers 5) or `torch_dtype`; without either, transformers takes float32."""
    name = config.text("dtype", config.text("torch_dtype", "float32"))
    if name not in DTYPES:
        raise Unsupported(f"{config.path}: dtype is {name!r}", f"supported: {', '.join(DTYPES)}")
    return DTYPES[name]


def attended_context(config: Config, *, windowed: bool) -> int:
    """Positions over which full attention equals this model's.

    llama.cpp runs these families with full attention, so a sliding window is honest only as far
    as it reaches: a windowed model is declared for contexts up to its window.
    """
    context = config.integer("max_position_embeddings")
    if not windowed:
        return context
    layer_kinds(config, KINDS, (FULL,) * depth(config))
    return min(context, config.integer("sliding_window", context))


def layer_kinds(config: Config, names: tuple[str, ...], default: Iterable[str]) -> tuple[str, ...]:
    """`layer_types`, one of `names` for each layer, or `default`.

    Raises DamagedInput for another length, Unsupported for another kind.
    """
    found = config.values.get("layer_types")
    kinds = tuple(default) if found is None else found
    if not isinstance(kinds, list | tuple) or len(kinds) != depth(config):
        raise DamagedInput(
            f"{config.path}: layer_types is not one kind for each layer",
            f"it must be an array of {depth(config)}",
        )
    other = next((kind for kind in kinds if kind not in names), None)
    if other is not None:
        raise Unsupported(
            f"{config.path}: layer_types has {other!r}", f"supported: {', '.join(names)}"
        )
    return tuple(kinds)


def integers(config: Config, key: str) -> tuple[int, ...] | None:
    """An array of whole numbers from 0, or None where it is absent."""
    found = config.values.get(key)
    if found is None:
        return None
    if not isinstance(found, list) or not all(type(each) is int and each >= 0 for each in found):
        raise DamagedInput(f"{config.path}: {key} is {found!r}", "it must be an array of integers")
    return tuple(found)


def factor(config: Config, key: str) -> float | None:
    """A positive number, or None where it is absent, null or 0."""
    return config.number(key) if config.values.get(key) else None


def fixed(config: Config, **values: object) -> None:
    """Raises Unsupported where a key is given and is not the value that alone is known."""
    for key, value in values.items():
        found = config.values.get(key)
        if found is not None and found != value:
            raise Unsupported(f"{config.path}: {key} is {found!r}", f"supported: {value!r}")


def rotated_layers(config: Config, interval: int) -> tuple[bool, ...]:
    """`no_rope_layers`, which says 1 for a layer that rotates; else all but every so-many-th."""
    layers, found = depth(config), integers(config, "no_rope_layers")
    if not found:
        return tuple((index + 1) % interval != 0 for index in range(layers))
    if len(found) != layers:
        raise DamagedInput(
            f"{config.path}: no_rope_layers has {len(found)} elements",
            f"it must be an array of {layers}, one for each layer",
        )
    return tuple(bool(each) for each in found)
