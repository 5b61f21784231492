"""The encodings of fewest bits, IQ1 to IQ3: ggml's own code does the work, where it is installed.

They choose from tables of lattice points by searches that exist in ggml alone. The wheel
`libggml-python` brings that code prebuilt; it is called as a kernel is.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from edgepack.errors import Missing
from edgepack.quant.encodings import ENCODINGS, BlockEncoding, Kernel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# enum ggml_type in ggml.h; block bytes from ggml-common.h
_TYPES: Final = {
    "IQ3_S": (21, 110),
    "IQ3_XXS": (18, 98),
    "IQ2_S": (22, 82),
    "IQ2_XS": (17, 74),
    "IQ2_XXS": (16, 66),
    "IQ1_M": (29, 56),
    "IQ1_S": (19, 50),
}
_BLOCK: Final = 256


@dataclass(frozen=True, slots=True)
class GgmlEncoding(BlockEncoding):
    """An encoding whose kernel is ggml's."""

    def require(self) -> None:
        """Raises Missing, with the command that installs it, where ggml is not."""
        _library()

    def _kernel(self) -> Kernel:
        return _Ggml(self.name)


class _Ggml:
    """The kernel of one type; foreign calls release the interpreter's lock."""

    def __init__(self, name: str) -> None:
        self._number = _TYPES[name][0]
        self._library = _library()
        self._dequantize = getattr(self._library, f"dequantize_row_{name.lower()}")
        self._dequantize.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
        self._dequantize.restype = None

    def encode(
        self,
        blocks: NDArray[np.float32],
        importance: NDArray[np.float32],
        out: NDArray[np.uint8],
    ) -> None:
        """Rows are as long as `importance`; without it a block may as well be a row."""
        columns = importance.size or blocks.shape[1]
        matrix = importance.ctypes.data if importance.size else None
        source, target = blocks.ctypes.data, out.ctypes.data
        rows = blocks.size // columns
        self._library.ggml_quantize_chunk(self._number, source, target, 0, rows, columns, matrix)

    def decode(self, blocks: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
        self._dequantize(blocks.ctypes.data, out.ctypes.data, out.size)


@cache
def _library() -> ctypes.CDLL:
    spec = find_spec("libggml")
    folder = Path(spec.origin).parent if spec and spec.origin else None
    names = ("libggml-base.so", "libggml-base.dylib", "ggml-base.dll")
    found = [path for name in names for path in folder.rglob(name)] if folder else []
    if not found:
        raise Missing(
            "IQ1, IQ2 and IQ3 are encoded by ggml's own code, which is not installed",
            "install it with: python -m pip install libggml-python",
        )
    library = ctypes.CDLL(str(found[0]))
    pointer, count = ctypes.c_void_p, ctypes.c_int64
    library.ggml_quantize_chunk.argtypes = [
        ctypes.c_int, pointer, pointer, count, count, count, pointer,
    ]  # fmt: skip
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    return library


GGML_ENCODINGS: Mapping[str, GgmlEncoding] = MappingProxyType(
    {
        # a float16 scale times the largest lattice value; less what searches stretch
        name: GgmlEncoding(name, _BLOCK, block_bytes, 65504.0)
        for name, (_, block_bytes) in _TYPES.items()
    }
)

STORED: Mapping[str, BlockEncoding] = MappingProxyType({**ENCODINGS, **GGML_ENCODINGS})
"""Every encoding that a GGUF of ours may hold."""

NEEDS_IMPORTANCE = frozenset(GGML_ENCODINGS) - {"IQ3_S"}
"""Without an importance matrix these are garbage, and ggml refuses (ggml.c, requires_imatrix)."""
