"""`GgufScheme`: a base encoding, an encoding for the head, and rules for roles that suffer most.

Source of the rules' form: llama_tensor_get_type in llama.cpp (src/llama-quant.cpp).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from edgepack.models.decoder import Decoder, Weight
from edgepack.quant.encodings import BlockEncoding
from edgepack.quant.ggml import NEEDS_IMPORTANCE, STORED
from edgepack.quant.schemes.overrides import NONE, Overrides
from edgepack.quant.schemes.scheme import Assignment


@dataclass(frozen=True, slots=True)
class Place:
    """Where a weight stands: its layer of how many, how many heads share a K and V, whether
    columns were `measured`: there is an importance matrix, and whether the model is `deep`."""

    layer: int
    layers: int
    sharing: int
    measured: bool
    deep: bool = False


Condition = Callable[[Place], bool]


def always(place: Place) -> bool:
    return True


def outer_and_every_third(place: Place) -> bool:
    """The first and the last eighth of the layers, and every third between."""
    eighth = place.layers // 8
    return (
        place.layer < eighth
        or place.layer >= 7 * place.layers // 8
        or (place.layer - eighth) % 3 == 2
    )


def first(count: int) -> Condition:
    """The first `count` layers."""
    return lambda place: place.layer < count


def first_of(parts: int) -> Condition:
    """The first of `parts` equal parts of the layers, rounded down."""
    return lambda place: place.layer < place.layers // parts


def inner(place: Place) -> bool:
    """All layers but the first and the last eighth."""
    return place.layers // 8 <= place.layer < 7 * place.layers // 8


def widely_shared(place: Place) -> bool:
    """Each K and V serves at least four heads, so that V is small and its errors count often."""
    return place.sharing >= 4


def measured(place: Place) -> bool:
    return place.measured


def unmeasured(place: Place) -> bool:
    return not place.measured


def both(one: Condition, other: Condition) -> Condition:
    return lambda place: one(place) and other(place)


def seventy_billion(decoder: Decoder) -> bool:
    """Whether llama.cpp takes the model for one of 70 B: by its layers and its architecture."""
    attention = decoder.layers[0].attention
    shared = attention.heads > attention.kv_heads
    deep = decoder.gguf.deep
    return len(decoder.layers) == 80 and (deep == "always" or (deep == "shared" and shared))


@dataclass(frozen=True, slots=True)
class Rule:
    """Weights of `role` get `encoding` where `when` holds."""

    role: str
    encoding: str
    when: Condition = always


ANY = ""  # of roles
EMBEDDING = "token_embd.weight"
Q, K, V, OUT = "attn_q.weight", "attn_k.weight", "attn_v.weight", "attn_output.weight"
GATE, UP, DOWN = "ffn_gate.weight", "ffn_up.weight", "ffn_down.weight"
HEAD = "output.weight"

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

KEPT = ("_norm.weight", "ffn_gate_inp.weight")
"""Matrices that stay F32: norms, and the router, which is small and decides much."""


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
        self.overrides.check(filter(quantizable, decoder.weights))
        untied = any(weight.role == HEAD for weight in decoder.weights)
        head = HEAD if untied else EMBEDDING
        chosen: Counter[str] = Counter()
        assignments = []
        for weight in decoder.weights:
            encoding = self._asked(weight)
            if encoding is None:
                # llama.cpp counts the weights of a role that it chooses for, and calls that the
                # layer: what is overridden before moves the others up.
                encoding = self._mixed(weight, decoder, head, chosen[weight.role])
                chosen[weight.role] += 1
            assignments.append(Assignment(weight, fitting(encoding, weight.shape[-1])))
        return tuple(assignments)

    def needs_importance(self, weight: Weight, encoding: str) -> bool:
        """Whether `weight` in `encoding` would be garbage without a matrix of importance."""
        if weight.role in (EMBEDDING, HEAD):
            return False
        return encoding in NEEDS_IMPORTANCE or (self.mix == "Q2_K_S" and encoding == "Q2_K")

    def _asked(self, weight: Weight) -> BlockEncoding | None:
        """What no rule of the mix decides."""
        return self.overrides.named(weight.name) if quantizable(weight) else STORED["F32"]

    def _mixed(self, weight: Weight, decoder: Decoder, head: str, layer: int) -> BlockEncoding:
        if self.overrides.pure:
            return self.base
        if weight.role == head:
            whole = weight.shape[-1] % self.base.block == 0
            return self.overrides.output or (self.head if whole else STORED["Q8_0"])
        # llama.cpp, too, asks layer 0 how many heads share a K and V.
        attention = decoder.layers[0].attention
        sharing = attention.heads // attention.kv_heads
        deep = seventy_billion(decoder)
        place = Place(layer, len(decoder.layers), sharing, self.measured, deep)
        return self._ruled(weight.role, place)

    def _ruled(self, role: str, place: Place) -> BlockEncoding:
        chosen = next(
            (rule.encoding for rule in self.rules if rule.role in (ANY, role) and rule.when(place)),
            self.base.name,
        )
        if role == V and place.deep and not self.base.name.startswith(LOWEST):
            chosen = DEEP_V.get(chosen, chosen)
        return STORED[chosen]


def overridden(scheme: GgufScheme, overrides: Overrides, *, measured: bool = False) -> GgufScheme:
    """`scheme` under `overrides`, and with the rules for a matrix of importance if `measured`."""
    return replace(scheme, overrides=overrides, measured=measured)


def quantizable(weight: Weight) -> bool:
    """Whether a scheme may touch this weight; all others are F32."""
    return (
        len(weight.shape) > 1 and weight.role.endswith("weight") and not weight.role.endswith(KEPT)
    )


def fitting(encoding: BlockEncoding, columns: int) -> BlockEncoding:
    """`encoding`, or the nearest one whose blocks divide a row of `columns` weights."""
    if columns % encoding.block == 0:
        return encoding
    narrower = STORED[NARROWER.get(encoding.name, "F16")]
    return narrower if columns % narrower.block == 0 else STORED["F16"]
