"""BF16: the upper half of a float32."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepack.quant.kernels.compiler import decoder, encoder
from edgepack.quant.kernels.scalars import brain_bits, brain_value


@encoder
def encode(
    blocks: NDArray[np.float32], importance: NDArray[np.float32], out: NDArray[np.uint8]
) -> None:
    """blocks float32[n, 1] -> out uint8[n, 2]; importance changes nothing."""
    x, words = blocks.reshape(-1), out.reshape(-1).view(np.uint16)
    for i in range(x.size):
        words[i] = brain_bits(x[i])


@decoder
def decode(blocks: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
    """blocks uint8[n, 2] -> out float32[n, 1]."""
    words, x = blocks.reshape(-1).view(np.uint16), out.reshape(-1)
    for i in range(x.size):
        x[i] = brain_value(words[i])
