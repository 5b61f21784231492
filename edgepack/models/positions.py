"""How many tokens a model has positions for, where its weights tell more than config.json.

Some models count positions from the one after the padding's own. What such a table holds for the
padding is never trained and stays zero, as torch makes it; no other row of a table is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from edgepack.models.safetensors import TensorRef

TABLE: Final = "position_embeddings.weight"


def usable(tensors: Mapping[str, TensorRef], padding: object) -> int | None:
    """Rows for tokens in a table that counts from `padding`, the id of the padding token; None
    where there is no such table. Raises as TensorRef.read_rows does."""
    table = next((ref for name, ref in tensors.items() if name.endswith(TABLE)), None)
    if table is None or type(padding) is not int or not 0 <= padding < table.rows - 1:
        return None
    return None if table.read_rows(padding, padding + 1).any() else table.rows - padding - 1
