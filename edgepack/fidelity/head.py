"""The output head: hidden states to logits, a slab of the vocabulary at a time.

The head is the largest matrix of a small model. It is kept as it is stored, half of float32 for
most checkpoints, and widened slab by slab as it is used.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepack.models import TensorRef
from edgepack.models.safetensors import widened

# 64 MiB of float32. With a quarter of it the product takes 1.3 to 1.5 times as long for 200 tokens:
# BLAS's threads meet at the end of every slab.
SLAB_ELEMENTS = 16 * 1024 * 1024


class Head:
    """The matrix `ref` [vocabulary, width], read once. Raises as reading a tensor does."""

    def __init__(self, ref: TensorRef) -> None:
        self._stored = ref.read_stored()

    def logits(self, hidden: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits [tokens, vocabulary] of final hidden states [tokens, width]."""
        vocabulary, width = self._stored.shape
        rows = min(vocabulary, max(1, SLAB_ELEMENTS // width))
        wide = np.empty((rows, width), np.float32)
        logits = np.empty((len(hidden), vocabulary), np.float32)
        for start in range(0, vocabulary, rows):
            slab = self._stored[start : start + rows]
            out = logits[:, start : start + rows]
            np.matmul(hidden, widened(slab, wide[: len(slab)]).T, out=out)
        return logits
