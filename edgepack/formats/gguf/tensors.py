"""The tensors of a GGUF, whoever wrote it, decoded a slab at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from edgepack.errors import DamagedInput, Unsupported
from edgepack.formats.digests import TensorExtent
from edgepack.formats.gguf.inspection import read_parts
from edgepack.formats.gguf.plan import rotated_rows, separate
from edgepack.formats.gguf.reader import Head
from edgepack.formats.protocol import StoredTensor, Weights
from edgepack.models.safetensors import read_exactly
from edgepack.quant.encodings import BlockEncoding
from edgepack.quant.ggml import STORED

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """One tensor: `shape` as a checkpoint has it, the row's length last; `offset` in `file`."""

    name: str
    encoding: BlockEncoding
    shape: tuple[int, ...]
    file: Path
    offset: int

    @property
    def rows(self) -> int:
        """Rows of length `columns`; a vector is one row."""
        return prod(self.shape[:-1])

    @property
    def columns(self) -> int:
        return self.shape[-1] if self.shape else 1

    @property
    def size(self) -> int:
        """Bytes."""
        return self.rows * self.encoding.row_bytes(self.columns)

    def read_raw(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Rows [start, stop) as they are stored, uint8 [n, bytes of a row].

        Raises DamagedInput if the file has become shorter than its header says.
        """
        import numpy as np

        row_bytes = self.encoding.row_bytes(self.columns)
        offset, count = self.offset + start * row_bytes, (stop - start) * row_bytes
        raw = read_exactly(self.file, self.name, offset, count)
        return np.frombuffer(raw, np.uint8).reshape(stop - start, row_bytes)

    def read_stored(self, start: int, stop: int) -> NDArray[np.float32]:
        """Rows [start, stop), decoded into float32 [n, columns]. Raises as `read_raw` does."""
        return self.encoding.decode(self.read_raw(start, stop), self.columns)


def tensors_of(parts: Mapping[Path, Head]) -> dict[str, GgufTensor]:
    """All tensors of the files `parts`, by name. Raises Unsupported as Format.tensors does."""
    return {
        tensor.name: _tensor(path, tensor)
        for path, head in parts.items()
        for tensor in head.tensors
    }


def _tensor(path: Path, extent: TensorExtent) -> GgufTensor:
    encoding = STORED.get(extent.encoding)
    if encoding is None:
        raise Unsupported(
            f"{path}: tensor {extent.name} is {extent.encoding}, which is not decoded here",
            f"decoded are: {', '.join(STORED)}",
        )
    shape = tuple(int(count) for count in reversed(extent.shape.split("x")) if count)
    return GgufTensor(extent.name, encoding, shape, path, extent.offset)


def tensors(entry: Path, model: Weights) -> Iterator[StoredTensor]:
    """As Format.tensors; what the file has beside the checkpoint's weights is passed over."""
    held = tensors_of(read_parts(entry))
    for weight in model.decoder.weights:
        if weight.source is None:
            continue
        found = held.get(weight.name)
        if found is None or found.shape != weight.shape:
            has = f"is {list(found.shape)}" if found else "is missing"
            raise DamagedInput(
                f"{entry}: tensor {weight.name} {has}",
                f"the checkpoint's is {list(weight.shape)}: name the one it came from",
            )
        head_dim = rotated_rows(model.decoder, weight)
        read = partial(_read, found, head_dim)
        yield StoredTensor(weight, found.encoding.name, found.size, read, head_dim)


def _read(tensor: GgufTensor, head_dim: int, start: int, stop: int) -> NDArray[np.float32]:
    """Rows in the checkpoint's order: rotated pairs apart again."""
    return separate(tensor.read_stored(start, stop), head_dim)
