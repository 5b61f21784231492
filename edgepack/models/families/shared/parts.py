"""The tensors of a model: which there are, their shapes, and what checkpoints call them.

Roles are llama.cpp's names of them (gguf-py/gguf/constants.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgepack.models.decoder import Attention, Experts, Weight

GATED = ("gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, slots=True)
class Block:
    """One layer of a checkpoint: `PREFIX.layers.INDEX`; `width` in elements."""

    index: int
    width: int
    prefix: str = "model"

    def weight(
        self, role: str, source: str, *shape: int, stacked: int = 0, split: bool = False
    ) -> Weight:
        full = f"{self.prefix}.layers.{self.index}.{source}"
        return Weight(role, self.index, shape, full, stacked, split)

    def norm(
        self, role: str, source: str, width: int | None = None, bias: bool = False
    ) -> Iterator[Weight]:
        for kind in ("weight", "bias") if bias else ("weight",):
            yield self.weight(f"{role}.{kind}", f"{source}.{kind}", width or self.width)

    def linear(
        self, role: str, source: str, rows: int, columns: int, bias: bool = False
    ) -> Iterator[Weight]:
        yield self.weight(f"{role}.weight", f"{source}.weight", rows, columns)
        if bias:
            yield self.weight(f"{role}.bias", f"{source}.bias", rows)


@dataclass(frozen=True, slots=True)
class Frame:
    """The tensors outside the blocks: where they are, what the last norm is called, biases."""

    prefix: str = "model"
    norm: str = "norm"
    norm_role: str = "output_norm"
    norm_bias: bool = False
    head_bias: bool = False

    def embedding(self, vocabulary: int, width: int) -> Weight:
        source = f"{self.prefix}.embed_tokens.weight"
        return Weight("token_embd.weight", None, (vocabulary, width), source)

    def output_norms(self, width: int) -> Iterator[Weight]:
        for kind in ("weight", "bias") if self.norm_bias else ("weight",):
            source = f"{self.prefix}.{self.norm}.{kind}"
            yield Weight(f"{self.norm_role}.{kind}", None, (width,), source)

    def head(self, vocabulary: int, width: int) -> Iterator[Weight]:
        source = f"{self.prefix.removesuffix('model')}lm_head"
        yield Weight("output.weight", None, (vocabulary, width), f"{source}.weight")
        if self.head_bias:
            yield Weight("output.bias", None, (vocabulary,), f"{source}.bias")


FRAME = Frame()


def attention(
    block: Block,
    facts: Attention,
    at: str = "self_attn",
    output: str = "o_proj",
    norms: tuple[str, str] = ("q_norm", "k_norm"),
) -> Iterator[Weight]:
    """Q, K, V, their norms, and the output."""
    for letter, rows in (("q", facts.q_width), ("k", facts.kv_width), ("v", facts.kv_width)):
        yield from block.linear(
            f"attn_{letter}", f"{at}.{letter}_proj", rows, block.width, facts.qkv_bias
        )
    if facts.qk_norm:
        whole = facts.qk_norm == "whole"
        for letter, name, width in zip("qk", norms, (facts.q_width, facts.kv_width), strict=True):
            size = width if whole else facts.head_dim
            yield from block.norm(f"attn_{letter}_norm", f"{at}.{name}", size)
    yield from block.linear(
        "attn_output", f"{at}.{output}", block.width, facts.output_width, facts.output_bias
    )


def latent_attention(block: Block, facts: Attention, at: str = "self_attn") -> Iterator[Weight]:
    """Multi-head latent attention; of `kv_b_proj`, K's half is stored transposed."""
    latent = facts.latent
    assert latent is not None, facts
    plain, bias = facts.head_dim - facts.rope.dimensions, facts.output_bias
    ranked = latent.kv_rank + facts.rope.dimensions
    if latent.query_rank is None:
        yield from block.linear("attn_q", f"{at}.q_proj", facts.q_width, block.width)
    else:
        rank = latent.query_rank
        yield from block.linear("attn_q_a", f"{at}.q_a_proj", rank, block.width, bias)
        yield from block.norm("attn_q_a_norm", f"{at}.q_a_layernorm", rank)
        yield from block.linear("attn_q_b", f"{at}.q_b_proj", facts.q_width, rank)
    yield from block.linear("attn_kv_a_mqa", f"{at}.kv_a_proj_with_mqa", ranked, block.width, bias)
    yield from block.norm("attn_kv_a_norm", f"{at}.kv_a_layernorm", latent.kv_rank)
    for role, rows, columns in (
        ("attn_k_b", latent.kv_rank, plain),
        ("attn_v_b", latent.value_dim, latent.kv_rank),
    ):
        yield block.weight(
            f"{role}.weight", f"{at}.kv_b_proj.weight", facts.heads, rows, columns, split=True
        )
    yield from block.linear(
        "attn_output", f"{at}.o_proj", block.width, facts.output_width, facts.output_bias
    )


def feed_forward(
    block: Block,
    width: int,
    bias: bool = False,
    at: str = "mlp",
    names: tuple[str, str, str] = GATED,
    suffix: str = "",
) -> Iterator[Weight]:
    """Gate, up and down of inner `width`; `suffix` is `_shexp` for experts that all tokens pass."""
    gate, up, down = names
    yield from block.linear(f"ffn_gate{suffix}", f"{at}.{gate}", width, block.width, bias)
    yield from block.linear(f"ffn_up{suffix}", f"{at}.{up}", width, block.width, bias)
    yield from block.linear(f"ffn_down{suffix}", f"{at}.{down}", block.width, width, bias)


def ungated(block: Block, width: int, bias: bool, up: str, down: str) -> Iterator[Weight]:
    yield from block.linear("ffn_up", f"mlp.{up}", width, block.width, bias)
    yield from block.linear("ffn_down", f"mlp.{down}", block.width, width, bias)


def router(block: Block, facts: Experts, source: str, bias: bool = False) -> Iterator[Weight]:
    yield from block.linear("ffn_gate_inp", source, facts.count, block.width, bias)


def experts(
    block: Block,
    facts: Experts,
    at: str = "mlp.experts",
    names: tuple[str, str, str] = GATED,
) -> Iterator[Weight]:
    """Gates, ups and downs, each a tensor an expert in the checkpoint and one stack in a GGUF."""
    number, inner = facts.count, facts.width
    for role, name, rows, columns in zip(
        ("gate", "up", "down"),
        names,
        (inner, inner, block.width),
        (block.width, block.width, inner),
        strict=True,
    ):
        yield block.weight(
            f"ffn_{role}_exps.weight",
            f"{at}.{{}}.{name}.weight",
            number,
            rows,
            columns,
            stacked=number,
        )
