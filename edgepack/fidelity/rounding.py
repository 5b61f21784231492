"""Float32 rounded to half its width, as runtimes round what such matrices are multiplied with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Rounding = Callable[[Array], Array]
Arithmetic = Literal["F32", "BF16", "F16"]

_LARGEST_HALF: Final = np.float32(65504)


def exact(x: Array) -> Array:
    """x itself."""
    return x


def bfloat16(x: Array) -> Array:
    """The nearest float of 8 significant bits, ties to even; x is finite."""
    bits = np.ascontiguousarray(x).view(np.uint32)
    half = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    rounded: Array = ((bits + half) & np.uint32(0xFFFF0000)).view(np.float32)
    return rounded


def float16(x: Array) -> Array:
    """The nearest float of 11 significant bits; what is larger than all of them, the largest."""
    rounded: Array = np.clip(x, -_LARGEST_HALF, _LARGEST_HALF).astype(np.float16).astype(np.float32)
    return rounded


ROUNDED: Final[Mapping[Arithmetic, Rounding]] = {
    "F32": exact,
    "BF16": bfloat16,
    "F16": float16,
}
