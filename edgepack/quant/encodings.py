"""`Encoding`: one way to store weights in blocks; `BlockEncoding`: llama.cpp's, byte for byte.

Sizes are known without compiling anything; `encode` and `decode` import the kernel of that name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol, cast

from edgepack.errors import DamagedInput, Unsupported, unknown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Kernel(Protocol):
    """What a module of edgepack.quant.kernels offers; blocks are rows, all arrays C-contiguous.

    `importance` float32[m, block] is that of a row, cut into its m blocks; without any, m is 0.
    """

    def encode(
        self,
        blocks: NDArray[np.float32],
        importance: NDArray[np.float32],
        out: NDArray[np.uint8],
    ) -> None: ...

    def decode(self, blocks: NDArray[np.uint8], out: NDArray[np.float32]) -> None: ...


@dataclass(frozen=True, slots=True)
class Encoding:
    """`block` elements of a row are stored in `block_bytes` bytes, wherever those lie.

    Weights of a magnitude up to `largest` encode to finite numbers; beyond it a stored scale or
    value may overflow to infinity.
    """

    name: str
    block: int
    block_bytes: int
    largest: float

    @property
    def bits_per_weight(self) -> float:
        return 8 * self.block_bytes / self.block

    def row_bytes(self, columns: int) -> int:
        """Bytes of one row. Raises Unsupported if `columns` is not a whole number of blocks."""
        if columns % self.block:
            raise Unsupported(
                f"{self.name} stores blocks of {self.block} weights, and a row has {columns}",
                "use an encoding with smaller blocks, such as Q8_0, or F16",
            )
        return columns // self.block * self.block_bytes

    def tensor_bytes(self, shape: tuple[int, ...]) -> int:
        """Bytes of a tensor [..., columns]. Raises Unsupported as `row_bytes` does."""
        return prod(shape[:-1]) * self.row_bytes(shape[-1])


@dataclass(frozen=True, slots=True)
class BlockEncoding(Encoding):
    """Blocks one after another, each with its scales and levels, as ggml lays them out."""

    def encode(
        self, rows: NDArray[np.float32], importance: NDArray[np.float32] | None = None
    ) -> NDArray[np.uint8]:
        """float32[n, columns] -> uint8[n, row_bytes].

        With `importance` float32[columns], errors count by their column, as with llama.cpp's
        importance matrix; an encoding that only rounds gives the same bytes all the same.

        Raises Unsupported as `row_bytes` does, DamagedInput if `importance` is of another length.
        """
        import numpy as np

        count, columns = rows.shape
        out = np.empty((count, self.row_bytes(columns)), np.uint8)
        if importance is None:
            importance = np.empty(0, np.float32)
        elif importance.shape != (columns,):
            raise DamagedInput(
                f"{importance.size} importances for rows of {columns} weights",
                "the importance matrix belongs to another model: measure this one's",
            )
        blocks = np.ascontiguousarray(rows, np.float32).reshape(-1, self.block)
        importance = np.ascontiguousarray(importance, np.float32).reshape(-1, self.block)
        self._kernel().encode(blocks, importance, out.reshape(-1, self.block_bytes))
        return out

    def decode(self, data: NDArray[np.uint8], columns: int) -> NDArray[np.float32]:
        """uint8[n, row_bytes] -> float32[n, columns].

        Raises Unsupported as `row_bytes` does, DamagedInput if the rows are of another length.
        """
        import numpy as np

        count, found = data.shape
        required = self.row_bytes(columns)
        if found != required:
            raise DamagedInput(
                f"a row of {columns} weights in {self.name} has {found} bytes, not {required}",
                "the tensor's shape and its data disagree: fetch or write the file again",
            )
        out = np.empty((count, columns), np.float32)
        blocks = np.ascontiguousarray(data).reshape(-1, self.block_bytes)
        self._kernel().decode(blocks, out.reshape(-1, self.block))
        return out

    def _kernel(self) -> Kernel:
        return cast(Kernel, import_module(f"edgepack.quant.kernels.{self.name.lower()}"))


_HALF: Final = 65504.0  # the largest float16

ENCODINGS: Mapping[str, BlockEncoding] = MappingProxyType(
    {
        name: BlockEncoding(name, block, block_bytes, largest)
        for name, block, block_bytes, largest in (
            ("F32", 1, 4, 3.4e38),
            ("F16", 1, 2, _HALF),
            ("BF16", 1, 2, 3.38e38),
            # a float16 scale times the highest level; less a tenth, since searches stretch scales
            ("Q8_0", 32, 34, 114 * _HALF),
            ("Q5_1", 32, 24, 0.9 * _HALF),
            ("Q5_0", 32, 22, 14 * _HALF),
            ("Q4_1", 32, 20, 0.9 * _HALF),
            ("Q4_0", 32, 18, 7 * _HALF),
            ("Q6_K", 256, 210, 114 * 28 * _HALF),
            ("Q5_K", 256, 176, 56 * _HALF),
            ("Q4_K", 256, 144, 56 * _HALF),
            ("Q3_K", 256, 110, 28 * 3.6 * _HALF),
            ("Q2_K", 256, 84, 13 * _HALF),
            ("IQ4_NL", 32, 18, 100 * _HALF),
            ("IQ4_XS", 256, 136, 28 * 100 * _HALF),
            ("MXFP4", 32, 17, 3.4e38),
            ("TQ2_0", 256, 66, _HALF),
            ("TQ1_0", 256, 54, _HALF),
        )
    }
)


def encoding(name: str) -> BlockEncoding:
    """The encoding called `name`, in any case. Raises UsageError with the nearest known name."""
    found = ENCODINGS.get(name.upper())
    if found is None:
        raise unknown("encoding", name, ENCODINGS)
    return found
