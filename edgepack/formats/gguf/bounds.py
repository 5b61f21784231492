"""gguf-py's reader, kept inside the file.

A slice beyond the end of a file is silently short in numpy. An array that claims 2**60 elements
would then be read for ever, and a shape whose product overflows would pass for a small one.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from gguf import GGUFReader
from numpy.typing import DTypeLike, NDArray


class BoundedReader(GGUFReader):  # type: ignore[misc]
    """GGUFReader that raises ValueError for anything that is not wholly in the file."""

    def _get(
        self, offset: int, dtype: DTypeLike, count: int = 1, override_order: str | None = None
    ) -> NDArray[Any]:
        end = int(offset) + np.dtype(dtype).itemsize * int(count)
        if end > len(self.data):
            raise ValueError(f"it would reach to byte {end} of {len(self.data)}")
        found: NDArray[Any] = super()._get(offset, dtype, count, override_order)
        return found

    def _build_tensors(self, start_offs: int, fields: list[Any]) -> None:
        for field in fields:
            elements = prod(int(extent) for extent in field.parts[3])
            if elements > 8 * len(self.data):  # no encoding stores a weight in less than a bit
                raise ValueError(f"{elements} weights in {len(self.data)} bytes")
        super()._build_tensors(start_offs, fields)
