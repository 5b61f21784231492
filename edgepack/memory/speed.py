"""How fast it goes: decode is memory traffic against bandwidth, prefill arithmetic against compute.

Both are ranges, with what they rest on: a bare number would be believed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgepack.memory.deployment import Deployment
from edgepack.memory.layers import EMBEDDINGS, routed
from edgepack.memory.placement import Part, Placement
from edgepack.models.decoder import Decoder

if TYPE_CHECKING:
    from edgepack.hardware import Figure

PEAK_EFFICIENCY = (0.45, 0.85)
"""Share of a data sheet's bandwidth that llama.cpp turns into tokens.

From published decode runs at 4 bits, tokens/s x bytes read / sheet bandwidth: 0.80 Mac mini M4
(brand-o/normiebench#3), 0.53 M1 Max (normiebench#40), 0.44 to 0.58 M1 Max (llama.cpp#27525), 0.68
Core i9-13900K (llama.cpp#34).
"""

COPY_EFFICIENCY = (0.70, 1.00)
"""Share of a measured copy bandwidth (read plus write).

Measured on one core of an AMD EPYC with AVX-512, copy 21.7 to 25.7 GB/s: 0.95 F16, 0.96 Q8_0,
0.85 Q6_K, 0.73 Q4_K.
"""

PROMPT = 512
"""Tokens of the prompt that prefill is stated for, llama-bench's pp512."""

COMPUTE_EFFICIENCY = (0.20, 0.80)
"""Share of a data sheet's dense FP16 arithmetic that llama.cpp turns into prefill.

From published pp512 runs at 4 to 6 bits, tokens/s x 2 x parameters / sheet FLOP/s: 0.77 M1 Max
(brand-o/normiebench#40), 0.23 and 0.39 RTX 4090 (dmatora/LLM-inference-speed-benchmarks#10,
geerlingguy/ai-benchmarks#43), 0.51 RTX 3080 (dmatora/LLM-inference-speed-benchmarks#12).
"""

_SOURCE = {
    "measured": "measured copy",
    "profile": "data sheet's",
    "probed": "reported",
    "unknown": "assumed",
}


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens per second of one sequence, and what that rests on."""

    low: float
    high: float
    basis: str


def decode_speed(placement: Placement) -> Speed | None:
    """Tokens per second at the end of the context; None where a bandwidth is unknown.

    The parts work one after another: seconds add up, each bytes read / (bandwidth x efficiency). A
    model small enough for the processor's cache can be faster.
    """
    working = [part for part in placement.parts if part.read]
    rates = [part.place.bandwidth for part in working]
    if any(rate.value is None for rate in rates):
        return None
    shares = [_decode_efficiency(rate) for rate in rates]
    slow, fast = (
        sum(
            part.read / ((rate.value or 0) * share[end])
            for part, rate, share in zip(working, rates, shares, strict=True)
        )
        for end in (0, 1)
    )
    told = (
        f"{share[0]:.0%} to {share[1]:.0%} of the {_SOURCE[rate.origin]} bandwidth"
        for rate, share in zip(rates, shares, strict=True)
    )
    return Speed(1 / slow, 1 / fast, f"{' and '.join(dict.fromkeys(told))}, context full")


def prefill_speed(decoder: Decoder, deployment: Deployment, placement: Placement) -> Speed | None:
    """Tokens per second of a prompt; None where a processor's compute is unknown.

    Two operations for every weight that a token passes, and as many for every element of K and V
    that it looks at (Kaplan et al. 2020, table 1). A mixture of experts has few, and then it takes
    as long as reading what the part holds, which a batch of tokens passes all of.
    """
    if placement.kind in ("experts", "layers"):
        return None  # weights then travel to the accelerator for every batch
    working = [part for part in placement.parts if part.layers]
    rates = [part.place.compute for part in working]
    if any(rate.value is None for rate in rates):
        return None
    depth = len(decoder.layers)
    operations = prompt_operations(decoder, min(PROMPT, deployment.context))
    batch = min(PROMPT, deployment.batch_tokens)

    def seconds(end: int) -> float:
        """For one token, at the slow (0) or the fast (1) end of what is made of the sheets."""
        return sum(
            max(
                operations * part.layers / depth / ((rate.value or 0) * COMPUTE_EFFICIENCY[end]),
                _reading(part, end) / batch,
            )
            for part, rate in zip(working, rates, strict=True)
        )

    low, high = COMPUTE_EFFICIENCY
    source = _SOURCE[rates[0].origin]
    basis = f"{low:.0%} to {high:.0%} of the {source} FP16 compute, {PROMPT} tokens"
    return Speed(1 / seconds(0), 1 / seconds(1), basis)


def _reading(part: Part, end: int) -> float:
    """Seconds to read all that a part holds; 0 where its bandwidth is unknown."""
    rate = part.place.bandwidth
    return part.bytes / (rate.value * _decode_efficiency(rate)[end]) if rate.value else 0.0


def prompt_operations(decoder: Decoder, tokens: int) -> int:
    """Floating-point operations for each token of a prompt of `tokens`, on average."""
    attention = sum(2 * 2 * layer.attention.q_width * (tokens // 2) for layer in decoder.layers)
    return 2 * active_parameters(decoder) + attention


def active_parameters(decoder: Decoder) -> int:
    """Weights that one token passes: of routed experts those chosen, no rows of embeddings."""
    total = 0
    for weight in decoder.weights:
        head = decoder.tied_embeddings and weight.role == "token_embd.weight"
        if weight.role in EMBEDDINGS and not head:
            continue
        if weight.source is None:
            continue
        elements = weight.elements
        if weight.layer is not None and routed(weight):
            experts = decoder.layers[weight.layer].feed_forward.experts
            assert experts is not None, weight.name
            elements = elements * experts.used // experts.count
        total += elements
    return total


def _decode_efficiency(rate: Figure[int]) -> Sequence[float]:
    return COPY_EFFICIENCY if rate.origin == "measured" else PEAK_EFFICIENCY
