"""Decode speed: memory traffic per token against memory bandwidth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgepack.memory.deployment import Deployment
from edgepack.memory.law import kv_cache_bytes
from edgepack.models.decoder import Decoder

if TYPE_CHECKING:
    from edgepack.hardware import Figure
    from edgepack.quant.schemes import Scheme

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

_SOURCE = {
    "measured": "measured copy",
    "profile": "data sheet's",
    "probed": "reported",
    "unknown": "assumed",
}


@dataclass(frozen=True, slots=True)
class DecodeSpeed:
    """Tokens per second of one sequence at the end of its context, and what that rests on."""

    low: float
    high: float
    basis: str


def active_weight_bytes(decoder: Decoder, scheme: Scheme) -> int:
    """Bytes of weights read for one token.

    All that the checkpoint has, but for an embedding that is not also the output head: one row of
    it is read, as of tables of angles.
    """
    return sum(
        assignment.stored_bytes
        for assignment in scheme.assign(decoder)
        if assignment.weight.source is not None
        and (decoder.tied_embeddings or assignment.weight.role != "token_embd.weight")
    )


def decode_speed(
    decoder: Decoder, scheme: Scheme, deployment: Deployment, bandwidth: Figure[int]
) -> DecodeSpeed | None:
    """bandwidth x efficiency / (active weights + the KV cache of one full sequence).

    None if the bandwidth (bytes/s) is unknown. A model small enough for the processor's cache can
    be faster.
    """
    if bandwidth.value is None:
        return None
    low, high = COPY_EFFICIENCY if bandwidth.origin == "measured" else PEAK_EFFICIENCY
    sequence = replace(deployment, context=deployment.cells, slots=1, unified=True)
    traffic = active_weight_bytes(decoder, scheme) + kv_cache_bytes(decoder, sequence)
    ceiling = bandwidth.value / traffic
    source = _SOURCE[bandwidth.origin]
    basis = f"{low:.0%} to {high:.0%} of the {source} bandwidth, context full"
    return DecodeSpeed(low * ceiling, high * ceiling, basis)
