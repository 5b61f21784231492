"""A GGUF's own description of its model, read back: what the memory law asks, and its bytes.

The inverse of `hyperparameters`. What tensors tell (widths, experts, which layers attend) is read
from their shapes; keys say the rest, with llama.cpp's defaults for those that are left out
(src/llama-model.cpp, load_hparams) and its habits by architecture in `GgufNaming`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgepack.errors import DamagedInput, Unsupported
from edgepack.formats.gguf.inspection import architecture_of, read_parts, scheme_of
from edgepack.formats.gguf.keys import Keys, check_there, model_name, weight_of
from edgepack.formats.gguf.layout import TENSOR_TYPES
from edgepack.formats.gguf.reader import Head
from edgepack.formats.gguf.values import Array
from edgepack.models import Decoder, Weight, families
from edgepack.models.decoder import (
    NO_ATTENTION,
    Attention,
    Experts,
    FeedForward,
    GgufNaming,
    Latent,
    Layer,
    Recurrence,
    Rope,
)
from edgepack.models.families.shared.layout import DEEPEST
from edgepack.quant.encodings import Encoding
from edgepack.quant.schemes import Assignment, gguf
from edgepack.quant.schemes.rules import EMBEDDING, HEAD

COMPUTED: Final = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")
GATES: Final = ("ffn_gate.weight", "ffn_gate_exps.weight", "ffn_gate_shexp.weight")
WINDOW: Final = "attention.sliding_window"
PATTERN: Final = f"{WINDOW}_pattern"
TYPES: Final = {
    kind.name: Encoding(kind.name, kind.block, kind.block_bytes, 0.0)
    for kind in TENSOR_TYPES.values()
}
"""Every type of a tensor, also those that edgepack cannot encode: here they are only counted."""

Roles = Mapping[str, tuple[int, ...]]  # the shapes of one layer's tensors


@dataclass(frozen=True, slots=True)
class StoredScheme:
    """What a file already is: each of its tensors, by name, in the type it is stored in."""

    name: str
    bits: int
    encodings: Mapping[str, Encoding]
    summary: str = "as the file has it"

    def assign(self, decoder: Decoder) -> tuple[Assignment, ...]:
        return tuple(Assignment(weight, self.encodings[weight.name]) for weight in decoder.weights)


@dataclass(frozen=True, slots=True)
class GgufShape:
    """A GGUF as the memory law sees it; activations, rotary scaling and norms are not told."""

    name: str
    decoder: Decoder
    scheme: StoredScheme


def read_shape(entry: Path) -> GgufShape:
    """The model whose only, or first, file is `entry`, from the heads of its files.

    Raises Missing, DamagedInput, and Unsupported for an architecture that no family here has.
    """
    check_there(entry)
    parts = read_parts(entry)
    head = parts[entry]
    architecture = architecture_of(entry, head)
    if architecture not in families.architectures():
        raise Unsupported(
            f"{entry}: its architecture is {architecture}, whose memory edgepack does not know",
            f"known: {', '.join(families.architectures())}",
        )
    tensors = [tensor for part in parts.values() for tensor in part.tensors]
    encodings = {tensor.name: TYPES[tensor.encoding] for tensor in tensors}
    weights = tuple(_weight(tensor.name, tensor.shape) for tensor in tensors)
    decoder = shape(Keys(entry, head, architecture), weights)
    return GgufShape(model_name(entry, head), decoder, _scheme(head, encodings, weights))


def _weight(name: str, extents: str) -> Weight:
    dimensions = tuple(int(count) for count in reversed(extents.split("x")) if count)
    found = weight_of(name, dimensions)
    if found.role in COMPUTED:
        return Weight(found.role, found.layer, found.shape, None)
    return found


def _scheme(
    head: Head, encodings: Mapping[str, Encoding], weights: Sequence[Weight]
) -> StoredScheme:
    """The file's name of itself, else the type of most of its bytes."""
    sizes: Counter[str] = Counter()
    for weight in weights:
        encoding = encodings[weight.name]
        sizes[encoding.name] += encoding.tensor_bytes(weight.shape)
    stated = scheme_of(head)
    known = {each.name: each.bits for each in gguf.FAITHFUL}
    name = sizes.most_common(1)[0][0] if stated.startswith("unknown") else stated
    elements = sum(weight.elements for weight in weights)
    bits = known.get(name.removesuffix("-custom")) or round(8 * sizes.total() / max(elements, 1))
    return StoredScheme(name, bits, encodings)


def shape(keys: Keys, weights: Sequence[Weight]) -> Decoder:
    """The Decoder of these keys and tensors, as far as the memory law asks.

    Raises DamagedInput for keys and tensors that do not go together, Unsupported for heads of K
    and V that differ in size.
    """
    layers = keys.integer("block_count", most=DEEPEST)
    roles: list[dict[str, tuple[int, ...]]] = [{} for _ in range(layers + 1)]
    for weight in weights:
        layer = layers if weight.layer is None else weight.layer
        if weight.layer is not None and layer >= layers:
            raise _torn(keys, f"tensor {weight.name} is beyond its {layers} layers")
        roles[layer][weight.role] = weight.shape
    embedding = roles[layers].get(EMBEDDING, ())
    if len(embedding) != 2:
        raise _torn(keys, f"{EMBEDDING} has the shape {list(embedding)}; two axes are required")
    naming, width = families.naming(keys.architecture), keys.integer("embedding_length")
    attentions = _attentions(keys, naming, roles[:layers], width)
    return Decoder(
        vocabulary=embedding[0],
        width=width,
        context_length=keys.integer("context_length"),
        layers=tuple(
            Layer(attention, _feed_forward(keys, own), _recurrence(keys, own, width))
            for attention, own in zip(attentions, roles[:layers], strict=True)
        ),
        norm_epsilon=keys.number("attention.layer_norm_rms_epsilon", 0.0),
        tied_embeddings=HEAD not in roles[layers],
        weights=tuple(weights),
        gguf=naming,
    )


def _attentions(
    keys: Keys, naming: GgufNaming, roles: Sequence[Roles], width: int
) -> list[Attention]:
    """Of every layer; one without an output matrix has none."""
    layers = len(roles)
    heads = keys.layered("attention.head_count", layers)
    shared = keys.layered("attention.head_count_kv", layers, default=heads[0])
    windows = _windows(keys, naming, layers)
    own = layers - keys.count("attention.shared_kv_layers")
    found = []
    for index, here in enumerate(roles):
        if "attn_output.weight" not in here:
            found.append(NO_ATTENTION)
            continue
        if not heads[index] or not shared[index]:
            raise _torn(keys, f"layer {index} has attention, and no heads")
        found.append(
            _attention(
                keys, width, heads[index], shared[index], windows[index], naming, index < own
            )
        )
    return found


def _attention(
    keys: Keys,
    width: int,
    heads: int,
    shared: int,
    windowed: int | None,
    naming: GgufNaming,
    owns_cache: bool,
) -> Attention:
    window, chunk = (None, windowed) if naming.chunk else (windowed, None)
    usual, latent = max(width // heads, 1), None
    size = keys.integer("attention.key_length", usual)
    of_v = keys.integer("attention.value_length", usual)
    if "attention.key_length_mla" in keys:
        latent = Latent(
            keys.integer("attention.kv_lora_rank"),
            keys.integer("attention.value_length_mla"),
            keys.integer("attention.q_lora_rank") if "attention.q_lora_rank" in keys else None,
        )
        size, shared = keys.integer("attention.key_length_mla"), heads
    elif of_v != size:
        raise Unsupported(
            f"{keys.path}: heads of K have {size} elements, those of V {of_v}",
            "convert the model again with a current tool",
        )
    rope = Rope(keys.number("rope.freq_base", 10_000.0), keys.count("rope.dimension_count") or size)
    return Attention(
        heads, shared, size, rope, window=window, chunk=chunk, latent=latent, owns_cache=owns_cache
    )


def _windows(keys: Keys, naming: GgufNaming, layers: int) -> tuple[int | None, ...]:
    """The window, or chunk, of each layer."""
    window = naming.chunk or (keys.count(WINDOW) if naming.window_period else 0)
    if not window:
        return (None,) * layers
    stated = keys.head.values.get(f"{keys.architecture}.{PATTERN}")
    if isinstance(stated, Array):
        windowed = tuple(map(bool, keys.layered(PATTERN, layers)))
    else:
        period = naming.window_period if stated is None else keys.count(PATTERN)
        windowed = tuple(not period or index % period < period - 1 for index in range(layers))
    return tuple(window if each else None for each in windowed)


def _feed_forward(keys: Keys, roles: Roles) -> FeedForward:
    """From the shapes; a gate may be half of the tensor called up."""
    down = roles.get("ffn_down_shexp.weight") or roles.get("ffn_down.weight") or (0,)
    up, width = roles.get("ffn_up.weight", (0,)), down[-1]
    gated = any(role in roles for role in GATES) or up[0] == 2 * width
    return FeedForward(width, gated=gated, experts=_experts(keys, roles))


def _experts(keys: Keys, roles: Roles) -> Experts | None:
    """Raises DamagedInput for experts without what brings their results together."""
    down = roles.get("ffn_down_exps.weight")
    if down is None:
        torn = next((role for role in roles if "_exps." in role), None)
        if torn is not None:
            raise _torn(keys, f"there is {torn}, and no ffn_down_exps.weight")
        return None
    if len(down) != 3:
        raise _torn(keys, f"ffn_down_exps.weight has {len(down)} axes; three are required")
    return Experts(down[0], keys.integer("expert_used_count", most=down[0]), down[2])


def _recurrence(keys: Keys, roles: Roles, width: int) -> Recurrence | None:
    """What a layer keeps of its past beside a cache; sizes as llama_hparams has them."""
    if "shortconv.conv.weight" in roles:
        taps = keys.integer("shortconv.l_cache")
        return Recurrence("short_convolution", width, (taps - 1) * width)
    if "ssm_conv1d.weight" not in roles:
        return None
    inner, size = keys.integer("ssm.inner_size"), keys.integer("ssm.state_size")
    channels = inner + 2 * keys.integer("ssm.group_count") * size
    taps = keys.integer("ssm.conv_kernel")
    delta = "attn_gate.weight" in roles
    return Recurrence(
        "gated_delta" if delta else "mamba2", inner, (taps - 1) * channels, size * inner
    )


def _torn(keys: Keys, what: str) -> DamagedInput:
    return DamagedInput(f"{keys.path}: {what}", "convert the model again")
