"""The tensors of recurrent layers, as llama.cpp holds them; sources are rearranged where shapes
of either differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgepack.models.decoder import Recurrence, Weight
from edgepack.models.families.shared.parts import Block


@dataclass(frozen=True, slots=True)
class Mamba2:
    """Heads, head size, groups that share B and C, elements of state and taps of convolution."""

    heads: int
    head_dim: int
    groups: int
    state: int
    taps: int

    @property
    def inner(self) -> int:
        return self.heads * self.head_dim

    @property
    def convolved(self) -> int:
        """Channels that the convolution passes: x, B and C."""
        return self.inner + 2 * self.groups * self.state

    def recurrence(self) -> Recurrence:
        """What a sequence keeps (Dao and Gu 2024)."""
        return Recurrence(
            "mamba2", self.inner, (self.taps - 1) * self.convolved, self.state * self.inner
        )

    def weights(self, block: Block, at: str = "mamba") -> Iterator[Weight]:
        rows = self.inner + self.convolved + self.heads
        yield from block.linear("ssm_in", f"{at}.in_proj", rows, block.width)
        yield block.weight(
            "ssm_conv1d.weight", f"{at}.conv1d.weight", self.convolved, self.taps, split=True
        )
        yield block.weight("ssm_conv1d.bias", f"{at}.conv1d.bias", self.convolved)
        yield block.weight("ssm_dt.bias", f"{at}.dt_bias", self.heads)
        yield block.weight("ssm_a", f"{at}.A_log", self.heads, 1, split=True)
        yield block.weight("ssm_d", f"{at}.D", self.heads, 1, split=True)
        per_group = self.inner // self.groups
        yield block.weight(
            "ssm_norm.weight", f"{at}.norm.weight", self.groups, per_group, split=True
        )
        yield from block.linear("ssm_out", f"{at}.out_proj", block.width, self.inner)


@dataclass(frozen=True, slots=True)
class GatedDelta:
    """Gated DeltaNet (Yang et al. 2024): heads of K and of V, of one size, and taps."""

    key_heads: int
    value_heads: int
    size: int
    taps: int

    @property
    def inner(self) -> int:
        return self.value_heads * self.size

    @property
    def convolved(self) -> int:
        """Channels that the convolution passes: Q, K and V."""
        return self.inner + 2 * self.key_heads * self.size

    def recurrence(self) -> Recurrence:
        return Recurrence(
            "gated_delta", self.inner, (self.taps - 1) * self.convolved, self.size * self.inner
        )

    def weights(self, block: Block, at: str = "linear_attn") -> Iterator[Weight]:
        for role, rows in (("attn_qkv", self.convolved), ("attn_gate", self.inner)):
            source = f"{at}.in_proj_qkvz.weight"
            yield block.weight(f"{role}.weight", source, rows, block.width, split=True)
        yield from block.linear("ssm_ba", f"{at}.in_proj_ba", 2 * self.value_heads, block.width)
        yield block.weight(
            "ssm_conv1d.weight", f"{at}.conv1d.weight", self.convolved, self.taps, split=True
        )
        yield block.weight("ssm_dt.bias", f"{at}.dt_bias", self.value_heads)
        yield block.weight("ssm_a", f"{at}.A_log", self.value_heads)
        yield block.weight("ssm_norm.weight", f"{at}.norm.weight", self.size)
        yield from block.linear("ssm_out", f"{at}.out_proj", block.width, self.inner)
