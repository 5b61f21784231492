"""`Decoder`: the one description of a decoder-only transformer.

Plain facts. A family (models/families) fills them from config.json; the memory law, the float32
reference, the GGUF metadata and every other reader take their numbers from here and from nowhere
else. None of them asks which family it was.

Shapes are as the checkpoint stores them: a matrix is [rows out, columns in].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DType = Literal["F32", "F16", "BF16"]


@dataclass(frozen=True, slots=True)
class RopeScaling:
    """How rotary frequencies are stretched beyond the trained context.

    `linear` divides every frequency by `factor`. `llama3` divides low frequencies by `factor`,
    keeps high ones, and blends between, by wavelength against `original_context`.
    """

    kind: Literal["linear", "llama3"]
    factor: float
    original_context: int = 0
    low_frequency_factor: float = 1.0
    high_frequency_factor: float = 4.0


@dataclass(frozen=True, slots=True)
class Rope:
    """Rotary position embedding over the first `dimensions` of each head, halves rotated."""

    base: float
    dimensions: int
    scaling: RopeScaling | None = None


@dataclass(frozen=True, slots=True)
class Attention:
    """Grouped-query attention of one layer; widths in elements per head."""

    heads: int
    kv_heads: int
    head_dim: int
    rope: Rope
    qkv_bias: bool = False
    output_bias: bool = False
    qk_norm: bool = False

    @property
    def q_width(self) -> int:
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Elements of K (and of V) that one token adds to this layer's cache."""
        return self.kv_heads * self.head_dim


@dataclass(frozen=True, slots=True)
class FeedForward:
    """Gated feed-forward: down(silu(gate(x)) * up(x))."""

    width: int
    bias: bool = False


@dataclass(frozen=True, slots=True)
class Layer:
    attention: Attention
    feed_forward: FeedForward


@dataclass(frozen=True, slots=True)
class Weight:
    """One tensor the model needs.

    `role` is the GGUF role (`attn_q.weight`, `token_embd.weight`), `layer` its index or None,
    `source` the tensor's name in the checkpoint, or None where it is computed from the rotary facts
    (`rope_freqs.weight`).
    """

    role: str
    layer: int | None
    shape: tuple[int, ...]
    source: str | None

    @property
    def name(self) -> str:
        """Its name in a GGUF: `blk.3.attn_q.weight`."""
        return self.role if self.layer is None else f"blk.{self.layer}.{self.role}"

    @property
    def elements(self) -> int:
        count = 1
        for extent in self.shape:
            count *= extent
        return count


@dataclass(frozen=True, slots=True)
class GgufNaming:
    """What llama.cpp calls this model, and how it wants its rotary pairs stored.

    `interleaved_rope`: rows of Q and K are reordered so that rotated pairs are neighbours.
    `deep`: when it takes a model of 80 layers for one of 70 B, whose V it treats better: where
    heads share K and V, or always.
    """

    architecture: str
    interleaved_rope: bool = False
    deep: Literal["never", "shared", "always"] = "never"


@dataclass(frozen=True, slots=True)
class Decoder:
    """A decoder-only transformer: pre-norm blocks with RMSNorm, attention, gated feed-forward.

    `dtype` is the float type that it was released in, and that runtimes calculate in.
    """

    vocabulary: int
    width: int
    context_length: int
    layers: tuple[Layer, ...]
    norm_epsilon: float
    tied_embeddings: bool
    weights: tuple[Weight, ...]
    gguf: GgufNaming
    dtype: DType = "F32"

    @property
    def parameters(self) -> int:
        """Number of stored weights; a tied output head is counted once."""
        return sum(weight.elements for weight in self.weights)
