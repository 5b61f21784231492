"""Cosines and sines of every position's rotary angles, as GroupQueryAttention takes them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from edgepack.formats.onnx.layout import ElementType, Initializer
from edgepack.models import Decoder
from edgepack.models.decoder import Rope
from edgepack.models.rope import frequencies

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def caches(decoder: Decoder, element: ElementType) -> dict[Rope, tuple[Initializer, Initializer]]:
    """cos and sin [context, dimensions / 2] of every distinct rotary embedding in `decoder`."""
    ropes = dict.fromkeys(layer.attention.rope for layer in decoder.layers)
    return {
        rope: (
            Initializer(f"rotary.{index}.cos", element, shape),
            Initializer(f"rotary.{index}.sin", element, shape),
        )
        for index, rope in enumerate(ropes)
        for shape in [(decoder.context_length, rope.dimensions // 2)]
    }


def head(ropes: Iterable[Rope], placed: Iterable[Initializer]) -> bytes:
    """The first bytes of the data file: the caches of `ropes` at their places, cos before sin."""
    import numpy as np

    tables = list(placed)
    content = bytearray(max(table.offset + table.size for table in tables))
    for rope, cos, sin in zip(ropes, tables[::2], tables[1::2], strict=True):
        angles = _angles(rope, cos.shape[0])
        for table, values in ((cos, np.cos(angles)), (sin, np.sin(angles))):
            stored = values.astype(np.float16 if table.element == "F16" else np.float32)
            content[table.offset : table.offset + table.size] = stored.tobytes()
    return bytes(content)


def _angles(rope: Rope, positions: int) -> NDArray[np.float32]:
    """Radians [positions, dimensions / 2], in float32 as the models themselves calculate them."""
    import numpy as np

    return np.arange(positions, dtype=np.float32)[:, None] * frequencies(rope)
