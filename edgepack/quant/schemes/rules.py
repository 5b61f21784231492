"""Rules: which weights a scheme of llama.cpp treats better than others.

Source of their form, and of what counts as one part: llama_tensor_get_type and
tensor_get_category in llama.cpp (src/llama-quant.cpp).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

ANY = ""  # part
EMBEDDING, HEAD = "token_embd.weight", "output.weight"
Q, K, V, OUT = "attn_q.weight", "attn_k.weight", "attn_v.weight", "attn_output.weight"
GATE, UP, DOWN = "ffn_gate", "ffn_up", "ffn_down"

_PARTS = (
    ("per_layer_token_embd.weight", EMBEDDING), (EMBEDDING, EMBEDDING), (HEAD, HEAD),
    ("attn_qkv.weight", V), ("attn_kv_b.weight", V), (V, V), (K, K), (Q, Q), (OUT, OUT),
    (UP, UP), (GATE, GATE), (DOWN, DOWN),
)  # fmt: skip


@cache  # roles are few, and asked for every weight of every model that is weighed
def part_of(role: str) -> str:
    """The part of the model that rules ask for: those of V are for what is fused with V, too, and
    those of the feed-forward for its experts. ANY for what no rule names."""
    return next((part for start, part in _PARTS if role.startswith(start)), ANY)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a weight stands: its `layer` of how many, and how many of its part came before it.

    `sharing` heads read one K and V; `experts` a layer has; `measured`: there is an importance
    matrix; `deep`: it is a model of 70 B; `stacked`: the weight is several matrices.
    """

    layer: int
    layers: int
    sharing: int
    measured: bool
    deep: bool = False
    turn: int = 0
    experts: int = 0
    stacked: bool = False


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


def early(place: Place) -> bool:
    """As many weights as an eighth of the layers has, even where a layer has two of them."""
    return place.turn < place.layers // 8


def inner(place: Place) -> bool:
    """All layers but the first and the last eighth."""
    return place.layers // 8 <= place.layer < 7 * place.layers // 8


def widely_shared(place: Place) -> bool:
    """Each K and V serves at least four heads, so that V is small and its errors count often."""
    return place.sharing >= 4


def widely_used(place: Place) -> bool:
    """`widely_shared`, or beside experts, which make V a small part of the whole."""
    return widely_shared(place) or place.experts >= 4


def eight_experts(place: Place) -> bool:
    """Attention is then so small a part that llama.cpp hardly quantizes it."""
    return place.experts == 8


def stacked(place: Place) -> bool:
    return place.stacked


def measured(place: Place) -> bool:
    return place.measured


def unmeasured(place: Place) -> bool:
    return not place.measured


def both(one: Condition, other: Condition) -> Condition:
    return lambda place: one(place) and other(place)


@dataclass(frozen=True, slots=True)
class Rule:
    """Weights of `part` get `encoding` where `when` holds."""

    part: str
    encoding: str
    when: Condition = always
