"""`Decoder`: the one description of a decoder-only transformer.

Plain facts. A family (models/families) fills them from config.json; the memory law, the float32
reference, the GGUF metadata and every other reader take their numbers from here and from nowhere
else. None of them asks which family it was. What goes beyond the plainest decoder has a name
(models/features), and a reader says which of these it knows.

Shapes are as the checkpoint stores them: a matrix is [rows out, columns in].
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal

DType = Literal["F32", "F16", "BF16"]
Activation = Literal["silu", "gelu", "gelu_tanh", "relu", "relu2", "clipped_swiglu"]


@dataclass(frozen=True, slots=True)
class RopeScaling:
    """How rotary frequencies are stretched beyond the trained context.

    `linear` divides every frequency by `factor`. `llama3` divides low frequencies by `factor`,
    keeps high ones, and blends between, by wavelength against `original_context`. `yarn` does so
    between the turns `beta_slow` and `beta_fast` within it (Peng et al. 2023), at whole pairs where
    it is to `truncate`. `longrope` divides each pair's by a number of its own, from `short` up to
    `original_context` tokens and from `long` beyond. The last two multiply cosines and sines by
    `attention_factor`.
    """

    kind: Literal["linear", "llama3", "yarn", "longrope"]
    factor: float
    original_context: int = 0
    low_frequency_factor: float = 1.0
    high_frequency_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True
    attention_factor: float = 1.0
    short: tuple[float, ...] = ()
    long: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Rope:
    """Rotary position embedding over the first `dimensions` of each head, 0 for none.

    Pair i is (i, i + dimensions / 2), or (2i, 2i + 1) if `neighbours`.
    """

    base: float
    dimensions: int
    scaling: RopeScaling | None = None
    neighbours: bool = False


NO_ROPE = Rope(1.0, 0)


@dataclass(frozen=True, slots=True)
class Latent:
    """Multi-head latent attention: K and V of all heads are projections of one cached vector.

    Widths in elements: `kv_rank` of that vector, `query_rank` of the queries' (None: not
    compressed), `value_dim` of one head of V. The rotated dimensions of K lie beside the vector and
    are shared by all heads (DeepSeek-V2, section 2.1).
    """

    kv_rank: int
    value_dim: int
    query_rank: int | None = None


@dataclass(frozen=True, slots=True)
class Attention:
    """Grouped-query attention of one layer; widths in elements per head.

    `qk_norm`: an RMSNorm over each head of Q and K, or over the whole width of either.
    `window`: the number of latest tokens a token looks at, itself among them; `chunk`: it looks at
    those of its own chunk of so many. `scale` multiplies scores, None for 1 / sqrt(head_dim).
    `softcap` c makes of a score s: c * tanh(s / c). `sinks`: one learned score a head that takes a
    share and gives nothing. `owns_cache` is False where K and V are those of an earlier layer.
    """

    heads: int
    kv_heads: int
    head_dim: int
    rope: Rope
    qkv_bias: bool = False
    output_bias: bool = False
    qk_norm: Literal["head", "whole"] | None = None
    window: int | None = None
    chunk: int | None = None
    scale: float | None = None
    softcap: float | None = None
    sinks: bool = False
    latent: Latent | None = None
    owns_cache: bool = True

    @property
    def q_width(self) -> int:
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Rows of K's projection, and of V's."""
        return self.kv_heads * self.head_dim

    @property
    def output_width(self) -> int:
        """Elements of all heads' results."""
        return self.heads * (self.latent.value_dim if self.latent else self.head_dim)

    @property
    def k_cached(self) -> int:
        """Elements that one token adds to this layer's cache of K."""
        if not self.owns_cache:
            return 0
        return self.latent.kv_rank + self.rope.dimensions if self.latent else self.kv_width

    @property
    def v_cached(self) -> int:
        """The same of V; with latent attention V is calculated from what K's cache holds."""
        return 0 if self.latent or not self.owns_cache else self.kv_width


NO_ATTENTION = Attention(0, 0, 0, NO_ROPE)


@dataclass(frozen=True, slots=True)
class Recurrence:
    """What mixes tokens by a state of fixed size; float32 elements that one sequence keeps.

    `kind` names the equations; `convolution` are the latest inputs of a short convolution, `state`
    the recurrent state itself, `inner` the width between the projections in and out.
    """

    kind: Literal["mamba", "mamba2", "gated_delta", "short_convolution"]
    inner: int
    convolution: int
    state: int = 0


@dataclass(frozen=True, slots=True)
class Experts:
    """A mixture of experts: `used` of `count`, each of inner `width`, by a router's choice.

    `router`: scores are the softmax over all, or over the chosen alone, or sigmoids. `normalised`:
    those of the chosen are made to sum to one; then they are multiplied by `scale`. `groups`: the
    choice is first among that many groups, of which `groups_used` are kept.
    """

    count: int
    used: int
    width: int
    router: Literal["softmax", "softmax_chosen", "sigmoid"] = "softmax"
    normalised: bool = True
    scale: float = 1.0
    groups: int = 1
    groups_used: int = 1


@dataclass(frozen=True, slots=True)
class FeedForward:
    """Gated: down(activation(gate(x)) * up(x)); else down(activation(up(x))).

    `width` is the inner width of what every token passes, shared experts among it; 0 for none.
    """

    width: int
    bias: bool = False
    activation: Activation = "silu"
    gated: bool = True
    experts: Experts | None = None


NO_FEED_FORWARD = FeedForward(0)


@dataclass(frozen=True, slots=True)
class Layer:
    attention: Attention
    feed_forward: FeedForward
    recurrence: Recurrence | None = None


@dataclass(frozen=True, slots=True)
class Weight:
    """One tensor the model needs.

    `role` is the GGUF role (`attn_q.weight`, `token_embd.weight`), `layer` its index or None,
    `source` the tensor's name in the checkpoint, or None where it is computed from the rotary facts
    (`rope_freqs.weight`). Where `stacked` is n, it is n tensors along a new first axis, and `{}` in
    `source` stands for 0 to n - 1. `split` says that it is a part of `source`, or `source`
    rearranged.
    """

    role: str
    layer: int | None
    shape: tuple[int, ...]
    source: str | None
    stacked: int = 0
    split: bool = False

    @property
    def name(self) -> str:
        """Its name in a GGUF: `blk.3.attn_q.weight`."""
        return self.role if self.layer is None else f"blk.{self.layer}.{self.role}"

    @property
    def sources(self) -> tuple[str, ...]:
        """The checkpoint's tensors that it is made of."""
        if self.source is None:
            return ()
        if not self.stacked:
            return (self.source,)
        return tuple(self.source.format(index) for index in range(self.stacked))

    @property
    def elements(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class GgufNaming:
    """What llama.cpp calls this model, and how it wants its rotary pairs stored.

    `interleaved_rope`: rows of Q and K are reordered so that rotated pairs are neighbours.
    `deep`: when it takes a model of 80 layers for one of 70 B, whose V it treats better: where
    heads share K and V, or always. `divided_logits`: it divides logits by the scale it is told.
    `window_period`: of so many layers the last has no window, where a file does not say; 0 where it
    gives this model none, whatever a file says. `chunk`: tokens of the chunks that stand for them.
    """

    architecture: str
    interleaved_rope: bool = False
    deep: Literal["never", "shared", "always"] = "never"
    divided_logits: bool = False
    window_period: int = 0
    chunk: int | None = None


@dataclass(frozen=True, slots=True)
class Decoder:
    """A decoder-only transformer: blocks of attention, or recurrence, and feed-forward.

    `norm_offset` is added to the weights of norms. `norm_place`: norms stand before attention and
    feed-forward, after them, or around; `parallel`: both read the same normed input. Multipliers:
    `embedding_scale` of embedded tokens, `residual_scale` of what a block adds, `logit_scale` of
    logits; `logit_softcap` bounds them as `Attention.softcap` does scores. `dtype` is the float
    type that it was released in, and that runtimes calculate in, `native` the block type of its
    experts where those were released quantized. `beyond` names what no fact here tells
    (models/features).
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
    norm: Literal["rms", "layer"] = "rms"
    norm_offset: float = 0.0
    norm_place: Literal["before", "after", "around"] = "before"
    parallel: bool = False
    head_bias: bool = False
    embedding_scale: float = 1.0
    residual_scale: float = 1.0
    logit_scale: float = 1.0
    logit_softcap: float | None = None
    native: Literal["MXFP4"] | None = None
    beyond: frozenset[str] = frozenset()

    @property
    def attention_interval(self) -> int:
        """n where every n-th layer has attention and the others the gated delta rule; else 0."""
        kinds = {layer.recurrence.kind for layer in self.layers if layer.recurrence}
        if kinds != {"gated_delta"}:
            return 0
        return next(i for i, layer in enumerate(self.layers) if layer.attention.heads) + 1

    @property
    def described_attention(self) -> Attention:
        """What llama.cpp takes for the first layer's: where the layers with attention come at an
        interval, the heads of those are stated for all."""
        if not self.attention_interval:
            return self.layers[0].attention
        return self.layers[self.attention_interval - 1].attention

    @property
    def parameters(self) -> int:
        """Number of weights that a checkpoint stores; a tied output head is counted once."""
        return sum(weight.elements for weight in self.weights if weight.source is not None)
