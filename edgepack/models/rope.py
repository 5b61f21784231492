"""Rotary embeddings as numbers: what the reference rotates by, what GGUF and ONNX carry."""

from __future__ import annotations

from math import pi
from typing import TYPE_CHECKING

from edgepack.models.decoder import Decoder, Rope, Weight

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def frequencies(rope: Rope) -> NDArray[np.float32]:
    """Radians per position of each rotated pair, [dimensions / 2].

    base ** (-2i / dimensions), divided by `frequency_divisors` (Su et al. 2021, eq. 15).
    """
    import numpy as np

    exponents = np.arange(0, rope.dimensions, 2, dtype=np.float32) / np.float32(rope.dimensions)
    plain = np.float32(1.0) / np.float32(rope.base) ** exponents
    return (plain / frequency_divisors(rope)).astype(np.float32)


def frequency_divisors(rope: Rope) -> NDArray[np.float32]:
    """By how much each pair's frequency is divided, [dimensions / 2]; ones without scaling.

    Llama 3's law: wavelengths above context / low_frequency_factor are stretched by `factor`,
    those below context / high_frequency_factor are kept, and between them frequencies blend
    linearly in context / wavelength (Llama 3.1 reference implementation).
    """
    import numpy as np

    pairs = rope.dimensions // 2
    scaling = rope.scaling
    if scaling is None:
        return np.ones(pairs, np.float32)
    if scaling.kind == "linear":
        return np.full(pairs, scaling.factor, np.float32)
    assert scaling.kind == "llama3", scaling.kind
    exponents = np.arange(0, rope.dimensions, 2, dtype=np.float64) / rope.dimensions
    turns = scaling.original_context / (2 * pi * rope.base**exponents)  # within the old context
    low, high = scaling.low_frequency_factor, scaling.high_frequency_factor
    kept = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return (1.0 / ((1.0 - kept) / scaling.factor + kept)).astype(np.float32)


def tables(decoder: Decoder) -> dict[Rope, tuple[Weight, Weight]]:
    """Cosines and sines of every position's angles, [context, dimensions / 2] each.

    They are weights that no checkpoint stores, a pair for each distinct embedding of `decoder`.
    """
    ropes = dict.fromkeys(layer.attention.rope for layer in decoder.layers)
    return {
        rope: (
            Weight(f"rotary.{index}.cos", None, shape, None),
            Weight(f"rotary.{index}.sin", None, shape, None),
        )
        for index, rope in enumerate(ropes)
        for shape in [(decoder.context_length, rope.dimensions // 2)]
    }


def angles(rope: Rope, start: int, stop: int) -> NDArray[np.float32]:
    """Radians of positions [start, stop), [n, dimensions / 2], in float32 as models calculate."""
    import numpy as np

    return np.arange(start, stop, dtype=np.float32)[:, None] * frequencies(rope)
