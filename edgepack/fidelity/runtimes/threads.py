"""How many threads a runtime gets for a measurement."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """The cores this process may use less one, for everything else that runs.

    The threads of ggml and of onnxruntime spin until the last one is done: with ggml on two cores,
    one of them busy, two threads were measured ten to fifty times slower than one.
    """
    affinity = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if affinity else os.cpu_count() or 1
    return max(1, cores - 1)
