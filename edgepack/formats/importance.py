"""`Importance`: how much each column of each weight counts, as it was measured on a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edgepack.errors import DamagedInput
from edgepack.models import Weight

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Importance:
    """A matrix of importance: `columns` float32[n] by a weight's GGUF name, in the file's order.

    Measured on `chunks` pieces of `datasets`; `sha256` is that of the file at `path`.
    """

    path: Path
    sha256: str
    datasets: tuple[str, ...]
    chunks: int
    columns: Mapping[str, NDArray[np.float32]] = field(repr=False)

    def of(self, weight: Weight, *, required: bool) -> NDArray[np.float32] | None:
        """Those of `weight`'s columns; None where there are none, and none are `required`.

        Raises DamagedInput for a matrix of another model.
        """
        found = self.columns.get(weight.name)
        count = weight.shape[-1]
        if found is None and not required:
            return None
        if found is not None and found.size == count:
            return found
        what = f"has {found.size} importances for" if found is not None else "has none for"
        raise DamagedInput(
            f"{self.path}: {what} {weight.name}; {count} are required, one a column",
            "the matrix belongs to another model: measure this one's with llama-imatrix",
        )
