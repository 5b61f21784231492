"""F32: 4 bytes, as they are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def encode(
    blocks: NDArray[np.float32], importance: NDArray[np.float32], out: NDArray[np.uint8]
) -> None:
    """blocks float32[n, 1] -> out uint8[n, 4]; importance changes nothing."""
    out.view("<f4")[...] = blocks


def decode(blocks: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
    """blocks uint8[n, 4] -> out float32[n, 1]."""
    out[...] = blocks.view("<f4")
