"""llama.cpp's schemes, under the names of `llama-quantize`.

A scheme is a base encoding, an encoding for the head, and rules for the roles that suffer most.
Source of the rules: llama_tensor_get_type in llama.cpp (src/llama-quant.cpp), without an
importance matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from edgepack.errors import UsageError, unknown
from edgepack.models.decoder import Decoder, Weight
from edgepack.quant.encodings import ENCODINGS, Encoding
from edgepack.quant.schemes.scheme import Assignment


@dataclass(frozen=True, slots=True)
class Place:
    """Where a weight stands: its layer of how many, and how many heads share a K and V."""

    layer: int
    layers: int
    sharing: int


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


def widely_shared(place: Place) -> bool:
    """Each K and V serves at least four heads, so that V is small and its errors count often."""
    return place.sharing >= 4


def deep_and_shared(place: Place) -> bool:
    """The 70 B shape: 80 layers with grouped-query attention."""
    return place.layers == 80 and place.sharing > 1


@dataclass(frozen=True, slots=True)
class Rule:
    """Weights of `role` get `encoding` where `when` holds."""

    role: str
    encoding: str
    when: Condition = always


V, OUT, DOWN = "attn_v.weight", "attn_output.weight", "ffn_down.weight"

DEEP_V = {"Q3_K": "Q5_K", "Q4_K": "Q5_K"}
"""What V gets instead in `deep_and_shared` layers, in every scheme."""

NARROWER = {"Q2_K": "Q4_0", "Q3_K": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
"""What a row that is not a whole number of 256-weight blocks gets instead."""

KEPT = ("_norm.weight", "ffn_gate_inp.weight")
"""Matrices that stay F32: norms, and the router, which is small and decides much."""


@dataclass(frozen=True, slots=True)
class GgufScheme:
    """A named choice of encodings.

    `base` is what matrices get, `head` what the output head gets (the embedding, where it is
    tied), `rules` the exceptions, of which the first that holds counts. `bits` is nominal.
    """

    name: str
    base: Encoding
    head: Encoding
    bits: int
    summary: str
    rules: tuple[Rule, ...] = ()

    def assign(self, decoder: Decoder) -> tuple[Assignment, ...]:
        """An encoding for every weight, in the order of `decoder.weights`."""
        untied = any(weight.role == "output.weight" for weight in decoder.weights)
        head = "output.weight" if untied else "token_embd.weight"
        return tuple(
            Assignment(weight, self._encoding(weight, decoder, head)) for weight in decoder.weights
        )

    def _encoding(self, weight: Weight, decoder: Decoder, head: str) -> Encoding:
        if not quantizable(weight):
            return ENCODINGS["F32"]
        if weight.role == head:
            return fitting(self.head, weight.shape[-1])
        if weight.layer is None:
            return fitting(self.base, weight.shape[-1])
        # llama.cpp, too, asks layer 0 how many heads share a K and V.
        attention = decoder.layers[0].attention
        sharing = attention.heads // attention.kv_heads
        place = Place(weight.layer, len(decoder.layers), sharing)
        return fitting(self._ruled(weight.role, place), weight.shape[-1])

    def _ruled(self, role: str, place: Place) -> Encoding:
        chosen = next(
            (rule.encoding for rule in self.rules if rule.role == role and rule.when(place)),
            self.base.name,
        )
        if role == V and deep_and_shared(place):
            chosen = DEEP_V.get(chosen, chosen)
        return ENCODINGS[chosen]


def quantizable(weight: Weight) -> bool:
    """Whether a scheme may touch this weight; all others are F32."""
    return (
        len(weight.shape) > 1 and weight.role.endswith("weight") and not weight.role.endswith(KEPT)
    )


def fitting(encoding: Encoding, columns: int) -> Encoding:
    """`encoding`, or the nearest one whose blocks divide a row of `columns` weights."""
    if columns % encoding.block == 0:
        return encoding
    narrower = ENCODINGS[NARROWER.get(encoding.name, "F16")]
    return narrower if columns % narrower.block == 0 else ENCODINGS["F16"]


def _scheme(name: str, base: str, head: str, bits: int, summary: str, *rules: Rule) -> GgufScheme:
    return GgufScheme(name, ENCODINGS[base], ENCODINGS[head], bits, summary, rules)


FAITHFUL: tuple[GgufScheme, ...] = (
    _scheme("F32", "F32", "F32", 32, "full precision"),
    _scheme("BF16", "BF16", "BF16", 16, "what most checkpoints are stored in"),
    _scheme("F16", "F16", "F16", 16, "half precision"),
    _scheme("Q8_0", "Q8_0", "Q8_0", 8, "hardly distinguishable from half precision"),
    _scheme("Q6_K", "Q6_K", "Q6_K", 6, "very close to half precision"),
    _scheme(
        "Q5_K_M", "Q5_K", "Q6_K", 5, "small loss; more bits where they matter",
        Rule(V, "Q6_K", outer_and_every_third),
        Rule(DOWN, "Q6_K", outer_and_every_third),
    ),
    _scheme("Q5_K_S", "Q5_K", "Q6_K", 5, "small loss"),
    _scheme("Q5_1", "Q5_1", "Q6_K", 5, "small loss; older, simpler blocks"),
    _scheme(
        "Q4_K_M", "Q4_K", "Q6_K", 4, "the usual balance of size and quality",
        Rule(V, "Q6_K", outer_and_every_third),
        Rule(DOWN, "Q6_K", outer_and_every_third),
    ),
    _scheme("Q5_0", "Q5_0", "Q6_K", 5, "moderate loss; older, simpler blocks"),
    _scheme(
        "Q4_K_S", "Q4_K", "Q6_K", 4, "a little smaller than Q4_K_M",
        Rule(V, "Q5_K", first(4)),
        Rule(DOWN, "Q5_K", first_of(8)),
    ),
    _scheme("Q4_1", "Q4_1", "Q6_K", 4, "moderate loss; older, simpler blocks"),
    _scheme("Q4_0", "Q4_0", "Q6_K", 4, "moderate loss; simple blocks, fast on small devices"),
    _scheme(
        "Q3_K_L", "Q3_K", "Q6_K", 3, "noticeable loss",
        Rule(V, "Q5_K"),
        Rule(OUT, "Q5_K"),
        Rule(DOWN, "Q5_K"),
    ),
    _scheme(
        "Q3_K_M", "Q3_K", "Q6_K", 3, "noticeable loss",
        Rule(V, "Q5_K", first(2)),
        Rule(V, "Q4_K"),
        Rule(OUT, "Q4_K"),
        Rule(DOWN, "Q5_K", first_of(16)),
        Rule(DOWN, "Q4_K"),
    ),
    _scheme("Q3_K_S", "Q3_K", "Q6_K", 3, "large loss"),
    _scheme(
        "Q2_K", "Q2_K", "Q6_K", 2, "severe loss; a last resort",
        Rule(V, "Q4_K", widely_shared),
        Rule(V, "Q3_K"),
        Rule(OUT, "Q3_K"),
        Rule(DOWN, "Q3_K"),
    ),
)  # fmt: skip
"""Every scheme, most faithful first."""

SCHEMES: Mapping[str, GgufScheme] = MappingProxyType({scheme.name: scheme for scheme in FAITHFUL})


GROUPS: tuple[int, ...] = ()

USUAL: tuple[GgufScheme, ...] = tuple(
    SCHEMES[name] for name in ("F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K")
)
"""The schemes people mean by a number of bits."""


def scheme(name: str, *, plain: bool = False) -> GgufScheme:
    """The scheme called `name`, in any case. Raises UsageError with the nearest known name.

    `plain` has no meaning here: the bytes are those llama.cpp itself would write.
    """
    found = SCHEMES.get(name.upper())
    if found is None:
        raise unknown("scheme", name, SCHEMES)
    return found


def at(bits: int, group: int | None = None, *, plain: bool = False) -> GgufScheme:
    """The usual scheme of `bits` bits; blocks have fixed sizes, so there is no `group`.

    Raises UsageError where there is none.
    """
    assert group is None
    found = next((scheme for scheme in USUAL if scheme.bits == bits), None)
    if found is None:
        known = ", ".join(str(scheme.bits) for scheme in USUAL)
        raise UsageError(f"gguf has no scheme of {bits} bits", f"known: {known}")
    return found
