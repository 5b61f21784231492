"""What a decoder needs to run, where it fits, and how fast it decodes. Pure functions."""

from edgepack.memory.activations import compute_bytes
from edgepack.memory.deployment import (
    CACHE_TYPES,
    CONTEXT_STEP,
    DEFAULT_CONTEXT,
    Deployment,
    Program,
)
from edgepack.memory.fit import Fit, choose, does_not_fit, fit, fit_all, longest_context, reserve
from edgepack.memory.law import (
    CacheGroup,
    Footprint,
    cache_bytes,
    cache_law,
    copied_bytes,
    footprint,
    kv_cache_bytes,
    output_bytes,
    overhead_bytes,
    state_bytes,
    weight_bytes,
)
from edgepack.memory.layers import LayerBytes, OuterBytes, layer_bytes, outer_bytes
from edgepack.memory.speed import DecodeSpeed, active_weight_bytes, decode_speed

__all__ = [
    "CACHE_TYPES",
    "CONTEXT_STEP",
    "DEFAULT_CONTEXT",
    "CacheGroup",
    "DecodeSpeed",
    "Deployment",
    "Fit",
    "Footprint",
    "LayerBytes",
    "OuterBytes",
    "Program",
    "active_weight_bytes",
    "cache_bytes",
    "cache_law",
    "choose",
    "compute_bytes",
    "copied_bytes",
    "decode_speed",
    "does_not_fit",
    "fit",
    "fit_all",
    "footprint",
    "kv_cache_bytes",
    "layer_bytes",
    "longest_context",
    "outer_bytes",
    "output_bytes",
    "overhead_bytes",
    "reserve",
    "state_bytes",
    "weight_bytes",
]
