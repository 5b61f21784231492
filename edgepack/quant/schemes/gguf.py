"""llama.cpp's schemes, under the names of `llama-quantize`.

Source: llama_tensor_get_type in llama.cpp (src/llama-quant.cpp).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from edgepack.errors import UsageError, unknown
from edgepack.models.decoder import Decoder
from edgepack.quant.ggml import STORED
from edgepack.quant.schemes.mix import GgufScheme
from edgepack.quant.schemes.rules import (
    ANY,
    DOWN,
    EMBEDDING,
    GATE,
    OUT,
    UP,
    K,
    Q,
    Rule,
    V,
    both,
    early,
    eight_experts,
    first,
    first_of,
    inner,
    measured,
    outer_and_every_third,
    stacked,
    unmeasured,
    widely_shared,
    widely_used,
)

BESIDE_EIGHT = (
    "Q4_K_M", "Q4_K_S", "IQ4_NL", "IQ4_XS", "Q3_K_M", "Q3_K_S", "IQ3_M", "IQ3_S", "IQ3_XS",
    "IQ3_XXS", "Q2_K",
)  # fmt: skip
"""Mixes that give the attention output Q5_K where a layer has eight experts."""


def _scheme(name: str, base: str, head: str, bits: int, summary: str, *rules: Rule) -> GgufScheme:
    return GgufScheme(name, STORED[base], STORED[head], bits, summary, rules)


def _mix(name: str, base: str, head: str, bits: int, summary: str, *rules: Rule) -> GgufScheme:
    """As `_scheme`, with what attention gets beside eight experts before its own rules."""
    beside = (
        Rule(V, "Q8_0", eight_experts),
        Rule(K, "Q8_0", eight_experts),
        Rule(OUT, "Q5_K" if name in BESIDE_EIGHT else base, eight_experts),
    )
    return _scheme(name, base, head, bits, summary, *beside, *rules)


FAITHFUL: tuple[GgufScheme, ...] = (
    _scheme("F32", "F32", "F32", 32, "full precision"),
    _scheme("BF16", "BF16", "BF16", 16, "what most checkpoints are stored in"),
    _scheme("F16", "F16", "F16", 16, "half precision"),
    _mix("Q8_0", "Q8_0", "Q8_0", 8, "hardly distinguishable from half precision"),
    _mix("Q6_K", "Q6_K", "Q6_K", 6, "very close to half precision"),
    _mix(
        "Q5_K_M", "Q5_K", "Q6_K", 5, "small loss; more bits where they matter",
        Rule(V, "Q6_K", outer_and_every_third),
        Rule(DOWN, "Q6_K", outer_and_every_third),
    ),
    _mix("Q5_K_S", "Q5_K", "Q6_K", 5, "small loss"),
    _mix("Q5_1", "Q5_1", "Q6_K", 5, "small loss; older, simpler blocks"),
    _mix(
        "Q4_K_M", "Q4_K", "Q6_K", 4, "the usual balance of size and quality",
        Rule(V, "Q6_K", outer_and_every_third),
        Rule(DOWN, "Q6_K", outer_and_every_third),
    ),
    _mix(
        "Q5_0", "Q5_0", "Q6_K", 5, "moderate loss; older, simpler blocks",
        Rule(DOWN, "Q5_1", both(measured, first_of(8))),
    ),
    _mix(
        "Q4_K_S", "Q4_K", "Q6_K", 4, "a little smaller than Q4_K_M",
        Rule(V, "Q5_K", first(4)),
        Rule(DOWN, "Q5_K", first_of(8)),
    ),
    *(
        _mix(
            name, name, "Q6_K", 4, summary,
            Rule(V, "Q5_K", widely_shared),
            Rule(DOWN, "Q5_K", both(unmeasured, first_of(8))),
        )
        for name, summary in (
            ("IQ4_NL", "small blocks of uneven levels, for rows that K-quants do not divide"),
            ("IQ4_XS", "the smallest of about 4 bits"),
        )
    ),
    _mix("Q4_1", "Q4_1", "Q6_K", 4, "moderate loss; older, simpler blocks"),
    _mix(
        "Q4_0", "Q4_0", "Q6_K", 4, "moderate loss; simple blocks, fast on small devices",
        Rule(DOWN, "Q4_1", both(measured, first_of(8))),
    ),
    _mix(
        "Q3_K_L", "Q3_K", "Q6_K", 3, "noticeable loss",
        Rule(V, "Q5_K"),
        Rule(OUT, "Q5_K"),
        Rule(DOWN, "Q5_K"),
    ),
    _mix(
        "Q3_K_M", "Q3_K", "Q6_K", 3, "noticeable loss",
        Rule(V, "Q5_K", first(2)),
        Rule(V, "Q4_K"),
        Rule(OUT, "Q4_K"),
        Rule(DOWN, "Q5_K", first_of(16)),
        Rule(DOWN, "Q4_K"),
    ),
    _mix("Q3_K_S", "Q3_K", "Q6_K", 3, "large loss"),
    _mix(
        "Q2_K", "Q2_K", "Q6_K", 2, "severe loss; a last resort",
        Rule(V, "Q4_K", widely_shared),
        Rule(V, "Q3_K"),
        Rule(OUT, "Q3_K"),
        Rule(DOWN, "Q3_K"),
    ),
)  # fmt: skip
"""Every scheme that suits any decoder as it is, most faithful first."""


def _lowest(name: str, base: str, more: str, out: str, bits: int) -> GgufScheme:
    """IQ1 and IQ2: `more` is what the embedding, V and the first layers get."""
    return _scheme(
        name, base, "Q5_K", bits, "needs an importance matrix, and ggml's own code",
        Rule(EMBEDDING, more),
        Rule(V, "Q4_K", widely_used),
        Rule(V, more),
        Rule(K, "Q4_K", eight_experts),
        Rule(OUT, "Q5_K", eight_experts),
        Rule(OUT, out),
        Rule(DOWN, more, early),
    )  # fmt: skip


_LATTICES: tuple[GgufScheme, ...] = (
    _mix(
        "IQ3_M", "IQ3_S", "Q6_K", 3, "needs ggml's own code",
        Rule(V, "Q4_K"),
        Rule(OUT, "Q4_K"),
        Rule(DOWN, "Q4_K", first_of(8)),
        Rule(DOWN, "Q4_K", both(eight_experts, outer_and_every_third)),
    ),
    _mix("IQ3_S", "IQ3_S", "Q6_K", 3, "needs ggml's own code", Rule(V, "Q4_K", widely_shared)),
    _mix(
        "IQ3_XS", "IQ3_S", "Q6_K", 3, "needs an importance matrix, and ggml's own code",
        Rule(V, "Q4_K", widely_shared),
        Rule(Q, "IQ3_XXS"),
        Rule(K, "IQ3_XXS"),
        Rule(GATE, "IQ3_XXS", inner),
        Rule(UP, "IQ3_XXS", inner),
    ),
    _mix(
        "IQ3_XXS", "IQ3_XXS", "Q5_K", 3, "needs an importance matrix, and ggml's own code",
        Rule(EMBEDDING, "IQ3_S"),
        Rule(V, "Q4_K", widely_shared),
        Rule(V, "IQ3_S", unmeasured),
        Rule(Q, "IQ2_S"),
        Rule(K, "IQ2_S"),
        Rule(OUT, "IQ3_S"),
        Rule(DOWN, "Q4_K", both(unmeasured, first_of(8))),
        Rule(DOWN, "Q3_K", unmeasured),
    ),
    _lowest("IQ2_M", "IQ2_S", "IQ3_S", "IQ3_S", 2),
    _lowest("IQ2_S", "IQ2_XS", "IQ3_S", "IQ3_S", 2),
    _lowest("IQ2_XS", "IQ2_XS", "Q2_K", "IQ2_XS", 2),
    _lowest("IQ2_XXS", "IQ2_XXS", "Q2_K", "IQ2_XXS", 2),
    _lowest("IQ1_M", "IQ1_M", "Q2_K", "IQ2_XXS", 1),
    _lowest("IQ1_S", "IQ1_S", "Q2_K", "IQ2_XXS", 1),
)  # fmt: skip

SPECIAL: tuple[GgufScheme, ...] = (
    _scheme(
        "MXFP4_MOE", "MXFP4", "Q8_0", 8, "experts in MXFP4, all else in Q8_0",
        Rule(ANY, "MXFP4", stacked),
        Rule(ANY, "Q8_0"),
    ),
    _mix(
        "Q2_K_S", "Q2_K", "Q6_K", 2, "severe loss; needs an importance matrix",
        Rule(V, "Q4_K", widely_shared),
        Rule(DOWN, "Q4_K", first_of(8)),
    ),
    *_LATTICES,
    *(
        _mix(
            name, name, "Q6_K", 2, "for models trained to weights of -1, 0 and 1",
            Rule(EMBEDDING, "Q4_K"),
        )
        for name in ("TQ2_0", "TQ1_0")
    ),
)  # fmt: skip
"""Schemes that are taken where they are asked for: each needs something of the model or of us."""

SCHEMES: Mapping[str, GgufScheme] = MappingProxyType({s.name: s for s in FAITHFUL + SPECIAL})

GROUPS: tuple[int, ...] = ()


def native(decoder: Decoder) -> tuple[GgufScheme, ...]:
    """MXFP4_MOE for experts that were released in MXFP4: there it loses nothing of them."""
    return (SCHEMES["MXFP4_MOE"],) if decoder.native == "MXFP4" else ()


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
