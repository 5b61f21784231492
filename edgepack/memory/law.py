"""The memory law: what llama.cpp allocates for a decoder, in bytes, before anything is loaded.

Every figure is a function of the Decoder and the Deployment alone. tests/memory holds the law
against llama.cpp's own planner (fixtures/golden/memory.json).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from edgepack.errors import UsageError
from edgepack.memory.activations import FLOAT, compute_bytes
from edgepack.memory.deployment import CACHE_TYPES, Deployment, Program
from edgepack.models.decoder import Decoder, Layer
from edgepack.units import MIB

if TYPE_CHECKING:
    from edgepack.quant.schemes import Scheme

PROCESS_BYTES: Mapping[Program, int] = MappingProxyType(
    {
        "llama-cli": 24 * MIB,
        "llama-server": 24 * MIB,
        "mlx-lm": 80 * MIB,
        "onnxruntime-genai": 66 * MIB,
        "onnxruntime": 66 * MIB,
    }
)
"""Resident memory of a process beyond its buffers: code, stacks, work space.

Measured as peak resident memory less weights, KV cache, compute and output buffers, on Linux
x86-64: 22 to 26 MiB for xllamacpp 2026.10.11549 and the Python that drives it. With the tokenizer
below, footprints of 37 to 1,076 MiB then come out within 5% of what was measured
(tests/benchmarks/test_memory.py). The others include the Python that drives them: mlx-lm 0.32.2
with mlx 0.32.4, onnxruntime-genai 0.18.0, each answering one question of fixtures/reasoner at 4
bits; for onnxruntime see memory.task.
"""

VOCABULARY_ENTRY_BYTES = 600
"""Resident bytes of one token with its merge: 584 measured at 50,000 tokens, 578 at 152,000."""


@dataclass(frozen=True, slots=True)
class CacheGroup:
    """Layers that keep the same cache: elements of K and V that one token adds to each of them.

    `window` is the number of tokens such a layer looks at, the latest or those of a chunk, None for
    all of them.
    """

    layers: int
    k_elements: int
    v_elements: int
    window: int | None = None

    def cells(self, deployment: Deployment) -> int:
        """Tokens one cache of this group has room for."""
        return deployment.window_cells(self.window)


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes a runtime holds for one decoder, scheme and deployment."""

    weights: int
    kv: int
    state: int
    compute: int
    output: int
    overhead: int

    @property
    def total(self) -> int:
        return self.weights + self.kv + self.state + self.compute + self.output + self.overhead


def cache_law(decoder: Decoder) -> tuple[CacheGroup, ...]:
    """The KV cache as a law a host can evaluate for a context of its own."""
    kinds = Counter(
        (attention.k_cached, attention.v_cached, attention.window or attention.chunk)
        for attention in (layer.attention for layer in decoder.layers)
        if attention.k_cached
    )
    return tuple(CacheGroup(layers, *kind) for kind, layers in kinds.items())


def kv_cache_bytes(decoder: Decoder, deployment: Deployment) -> int:
    """Bytes of the KV cache: layers x streams x cells x (one row of K + one row of V).

    Raises UsageError if a cache type's block does not divide the head.
    """
    check_heads(decoder, deployment)
    return cache_bytes(cache_law(decoder), deployment)


def layer_kv_bytes(layer: Layer, deployment: Deployment) -> int:
    """Bytes of one layer's KV cache over all slots; 0 where it keeps none."""
    attention = layer.attention
    if not attention.k_cached:
        return 0
    window = attention.window or attention.chunk
    group = CacheGroup(1, attention.k_cached, attention.v_cached, window)
    return cache_bytes((group,), deployment)


def state_bytes(decoder: Decoder, deployment: Deployment) -> int:
    """Bytes of what recurrent layers keep of their past: float32, the same for any context."""
    return sum(layer_state_bytes(layer, deployment) for layer in decoder.layers)


def layer_state_bytes(layer: Layer, deployment: Deployment) -> int:
    """The same of one layer."""
    recurrence = layer.recurrence
    if recurrence is None:
        return 0
    return FLOAT * deployment.slots * (recurrence.convolution + recurrence.state)


def cache_bytes(groups: Iterable[CacheGroup], deployment: Deployment) -> int:
    """The same, from the law as a manifest carries it."""
    return sum(
        group.layers
        * deployment.streams
        * group.cells(deployment)
        * (deployment.k.row_bytes(group.k_elements) + deployment.v.row_bytes(group.v_elements))
        for group in groups
    )


def output_bytes(decoder: Decoder, deployment: Deployment) -> int:
    """Bytes of the logits handed to the caller: one float32 row per slot."""
    return FLOAT * decoder.vocabulary * deployment.slots


def overhead_bytes(decoder: Decoder, program: Program = "llama-cli") -> int:
    """Bytes of the process itself and its tokenizer; see the constants for the measurements."""
    return PROCESS_BYTES[program] + VOCABULARY_ENTRY_BYTES * decoder.vocabulary


def weight_bytes(decoder: Decoder, scheme: Scheme) -> int:
    """Bytes of all stored tensors under `scheme`.

    A CPU that repacks 4-bit weights maps the file and keeps a copy; the mapped pages it no longer
    reads can be evicted, so the need stays one copy.
    """
    return sum(
        assignment.encoding.tensor_bytes(assignment.weight.shape)
        for assignment in scheme.assign(decoder)
    )


def copied_bytes(decoder: Decoder, scheme: Scheme, program: Program) -> int:
    """Bytes of weights that the program holds twice.

    onnxruntime packs every matrix anew and lets go of the original. A tied embedding it keeps in
    both forms, rows for tokens and packed for logits; float16 it widens to float32 and keeps, for
    its CPU kernels multiply nothing else. Measured as anonymous memory after loading onnxruntime
    1.32 on Linux x86-64, 148 M parameters, tied, in MiB: F16 692, int8-g32 222, int4-g32 133, by
    this law 652, 202, 113; a session itself takes some 20. F32 725 resident, by this law 715.
    """
    if program != "onnxruntime-genai":
        return 0
    stored = [(a.weight, a.encoding.name, a.stored_bytes) for a in scheme.assign(decoder)]
    embedding = sum(size for weight, _, size in stored if weight.role == "token_embd.weight")
    widened = sum(size for weight, name, size in stored if name == "F16" and len(weight.shape) > 1)
    if not decoder.tied_embeddings:  # its rows are looked up, and multiplied by nothing
        return widened - embedding if widened else 0
    return widened + embedding


def footprint(
    decoder: Decoder, scheme: Scheme, deployment: Deployment, projector_bytes: int = 0
) -> Footprint:
    """Everything the program's process holds. Raises UsageError as kv_cache_bytes does.

    `projector_bytes` are the weights of an encoder beside the decoder, such as the file that
    llama.cpp's `--mmproj` loads.
    """
    copies = copied_bytes(decoder, scheme, deployment.program)
    weights = weight_bytes(decoder, scheme) + projector_bytes
    return footprint_of(decoder, weights, deployment, copies)


def footprint_of(
    decoder: Decoder, weights: int, deployment: Deployment, copies: int = 0
) -> Footprint:
    """As `footprint`, for weights, and second copies of them, whose bytes are known."""
    return Footprint(
        weights=weights,
        kv=kv_cache_bytes(decoder, deployment),
        state=state_bytes(decoder, deployment),
        compute=compute_bytes(decoder, deployment),
        output=output_bytes(decoder, deployment),
        overhead=overhead_bytes(decoder, deployment.program) + copies,
    )


def check_heads(decoder: Decoder, deployment: Deployment) -> None:
    """UsageError for cache types with which llama.cpp refuses to load.

    A block of K or V would straddle two heads; or latent attention, which keeps K alone and reads V
    from it, is given two types.
    """
    attentions = {layer.attention for layer in decoder.layers if layer.attention.k_cached}
    for head_dim in {a.k_cached if a.latent else a.head_dim for a in attentions}:
        for kind in (deployment.k, deployment.v):
            if head_dim % kind.block:
                usable = (t.name for t in CACHE_TYPES.values() if head_dim % t.block == 0)
                raise UsageError(
                    f"KV cache type {kind.name} packs {kind.block} elements, "
                    f"which does not divide the head dimension {head_dim}",
                    f"use one of {', '.join(usable)}",
                )
    if deployment.k != deployment.v and any(attention.latent for attention in attentions):
        raise UsageError(
            f"the KV cache is {deployment.k.name} for K and {deployment.v.name} for V, "
            "and this model reads V from K's cache",
            "use one type for both",
        )
