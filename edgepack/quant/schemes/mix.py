"""`GgufScheme`: a base encoding, an encoding for the head, and rules for roles that suffer most.

Source: llama_tensor_get_type in llama.cpp (src/llama-quant.cpp).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

from edgepack.models.decoder import Decoder, Weight
from edgepack.quant.encodings import BlockEncoding
from edgepack.quant.ggml import NEEDS_IMPORTANCE, STORED
from edgepack.quant.schemes.overrides import NONE, Overrides
from edgepack.quant.schemes.rules import (
    ANY,
    DOWN,
    EMBEDDING,
    GATE,
    HEAD,
    UP,
    Place,
    Rule,
    V,
    part_of,
)
from edgepack.quant.schemes.scheme import Assignment


def seventy_billion(decoder: Decoder) -> bool:
    """Whether llama.cpp takes the model for one of 70 B: by its layers and its architecture."""
    attention = decoder.layers[0].attention
    shared = attention.heads > attention.kv_heads
    deep = decoder.gguf.deep
    return len(decoder.layers) == 80 and (deep == "always" or (deep == "shared" and shared))


DEEP_V: Final = {"Q3_K": "Q5_K", "Q4_K": "Q5_K"}
"""What V gets instead in models of `seventy_billion`, unless the base is one of `LOWEST`."""

LOWEST = ("IQ1", "IQ2")

NARROWER: Final = {
    "Q2_K": "Q4_0", "Q3_K": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0",
    "TQ1_0": "Q4_0", "TQ2_0": "Q4_0", "IQ4_XS": "IQ4_NL", "IQ3_S": "IQ4_NL", "IQ3_XXS": "IQ4_NL",
    "IQ2_S": "IQ4_NL", "IQ2_XS": "IQ4_NL", "IQ2_XXS": "IQ4_NL", "IQ1_M": "IQ4_NL",
    "IQ1_S": "IQ4_NL",
}  # fmt: skip
"""What a row that is not a whole number of 256-weight blocks gets instead."""

KEPT = ("_norm.weight", "ffn_gate_inp.weight", "ssm_conv1d.weight", "shortconv.conv.weight")
"""Matrices that stay F32: norms, the router, which is small and decides much, convolutions."""

HALVED = ("altup", "laurel", "per_layer_model_proj")
"""Parts of names of what llama.cpp leaves as it found it, though it is large: 16 bits."""


@dataclass(frozen=True, slots=True)
class GgufScheme:
    """A named choice of encodings.

    `mix` is llama.cpp's name. `base` is what matrices get, `head` what the output head gets (the
    embedding, where it is tied), `rules` the exceptions, of which the first that holds counts.
    `bits` is nominal. `overrides` go before all of it; `measured` says that there will be an
    importance matrix, which some rules ask.
    """

    mix: str
    base: BlockEncoding
    head: BlockEncoding
    bits: int
    summary: str
    rules: tuple[Rule, ...] = ()
    overrides: Overrides = NONE
    measured: bool = False

    @property
    def name(self) -> str:
        """`mix` where it is llama.cpp's own; what was overridden has another name."""
        return f"{self.mix}-custom" if self.overrides else self.mix

    def assign(self, decoder: Decoder) -> tuple[Assignment, ...]:
        """An encoding for every weight, in the order of `decoder.weights`.

        Raises UsageError for an override that is of no weight.
        """
        if self.overrides.tensors:
            self.overrides.check(filter(quantizable, decoder.weights))
        chosen = dict(self._choices(decoder))
        return tuple(
            Assignment(weight, fitting(chosen[weight], weight.shape[-1]))
            for weight in decoder.weights
        )

    def _choices(self, decoder: Decoder) -> Iterator[tuple[Weight, BlockEncoding]]:
        """In llama.cpp's order, by layer and name, since it counts the weights of a part."""
        model = _Model.of(decoder)
        turns: Counter[str] = Counter()
        for weight in sorted(decoder.weights, key=_order):
            encoding = self._asked(weight)
            if encoding is None:
                # What is overridden is not counted, and moves the others up.
                part = part_of(weight.role)
                encoding = self._mixed(weight, part, model, turns[part])
                turns[part] += 1
            yield weight, encoding

    def needs_importance(self, weight: Weight, encoding: str) -> bool:
        """Whether `weight` in `encoding` would be garbage without a matrix of importance."""
        if part_of(weight.role) in (EMBEDDING, HEAD):
            return False
        return encoding in NEEDS_IMPORTANCE or (self.mix == "Q2_K_S" and encoding == "Q2_K")

    def _asked(self, weight: Weight) -> BlockEncoding | None:
        """What no rule of the mix decides."""
        if quantizable(weight):
            return self.overrides.named(weight.name)
        if len(weight.shape) > 1 and _named(weight, HALVED):
            return self.base if self.base.block == 1 else STORED["F16"]
        return STORED["F32"]

    def _mixed(self, weight: Weight, part: str, model: _Model, turn: int) -> BlockEncoding:
        if self.overrides.pure:
            return self.base
        if part == model.head:
            whole = weight.shape[-1] % self.base.block == 0
            return self.overrides.output or (self.head if whole else STORED["Q8_0"])
        layer, layers = turn, model.layers
        if part == V:
            layers = model.values
        elif part in (GATE, UP, DOWN) and model.experts:
            layer = weight.layer or 0
        place = Place(
            layer, layers, model.sharing, self.measured, model.deep, turn, model.experts,
            stacked=len(weight.shape) > 2 and weight.shape[0] > 1,
        )  # fmt: skip
        return self._ruled(part, place)

    def _ruled(self, part: str, place: Place) -> BlockEncoding:
        chosen = next(
            (rule.encoding for rule in self.rules if rule.part in (ANY, part) and rule.when(place)),
            self.base.name,
        )
        if part == V and place.deep and not self.base.name.startswith(LOWEST):
            chosen = DEEP_V.get(chosen, chosen)
        return STORED[chosen]


@dataclass(frozen=True, slots=True)
class _Model:
    """What rules ask of a whole model. `values` is how many weights are of the part V."""

    head: str
    layers: int
    values: int
    sharing: int
    experts: int
    deep: bool

    @classmethod
    def of(cls, decoder: Decoder) -> _Model:
        parts = Counter(part_of(weight.role) for weight in decoder.weights)
        attention = decoder.described_attention
        shared = 1 if attention.latent else attention.kv_heads
        experts = (layer.feed_forward.experts for layer in decoder.layers)
        return cls(
            head=HEAD if parts[HEAD] else EMBEDDING,
            layers=len(decoder.layers),
            values=parts[V],
            sharing=attention.heads // shared if shared else 0,
            experts=next((each.count for each in experts if each), 0),
            deep=seventy_billion(decoder),
        )


def _order(weight: Weight) -> tuple[int, str]:
    return (-1 if weight.layer is None else weight.layer, weight.role)


def _named(weight: Weight, parts: tuple[str, ...]) -> bool:
    return any(part in weight.role for part in parts)


def overridden(scheme: GgufScheme, overrides: Overrides, *, measured: bool = False) -> GgufScheme:
    """`scheme` under `overrides`, and with the rules for a matrix of importance if `measured`."""
    return replace(scheme, overrides=overrides, measured=measured)


def quantizable(weight: Weight) -> bool:
    """Whether a scheme may touch this weight; all others are F32."""
    return len(weight.shape) > 1 and _is_quantized(weight.role)


@cache
def _is_quantized(role: str) -> bool:
    named = role.endswith("weight") and not role.endswith(KEPT)
    return named and not any(part in role for part in HALVED)


def fitting(encoding: BlockEncoding, columns: int) -> BlockEncoding:
    """`encoding`, or the nearest one whose blocks divide a row of `columns` weights."""
    if columns % encoding.block == 0:
        return encoding
    narrower = STORED[NARROWER.get(encoding.name, "F16")]
    return narrower if columns % narrower.block == 0 else STORED["F16"]
