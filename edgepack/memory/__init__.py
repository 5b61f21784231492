"""What a decoder needs to run, where it fits, and how fast it decodes. Pure functions."""

from edgepack.memory.activations import compute_bytes
from edgepack.memory.deployment import (
    CACHE_TYPES,
    CONTEXT_STEP,
    DEFAULT_CONTEXT,
    Deployment,
    Program,
)
from edgepack.memory.fit import (
    Fit,
    choose,
    does_not_fit,
    fit,
    fit_all,
    is_first_choice,
    longest_context,
)
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
from edgepack.memory.load import Load, Loads
from edgepack.memory.placement import Part, Placement, place, reserve
from edgepack.memory.speed import Speed, active_parameters, decode_speed, prefill_speed

__all__ = [
    "CACHE_TYPES",
    "CONTEXT_STEP",
    "DEFAULT_CONTEXT",
    "CacheGroup",
    "Deployment",
    "Fit",
    "Footprint",
    "LayerBytes",
    "Load",
    "Loads",
    "OuterBytes",
    "Part",
    "Placement",
    "Program",
    "Speed",
    "active_parameters",
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
    "is_first_choice",
    "kv_cache_bytes",
    "layer_bytes",
    "longest_context",
    "outer_bytes",
    "output_bytes",
    "overhead_bytes",
    "place",
    "prefill_speed",
    "reserve",
    "state_bytes",
    "weight_bytes",
]
