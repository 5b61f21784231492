"""A GGUF header, written with gguf-py: it comes first, since every size is known beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from edgepack.formats.gguf.metadata import Value
from edgepack.quant.schemes import Assignment

if TYPE_CHECKING:
    from gguf import GGUFWriter

ALIGNMENT = 32  # bytes; GGUF's default, and what llama.cpp writes


def padded(size: int) -> int:
    """`size` rounded up to the alignment of tensor data."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def write_header(
    path: Path, architecture: str, values: Mapping[str, Value], tensors: Sequence[Assignment]
) -> int:
    """Create `path` with header, metadata and tensor table; returns the offset of tensor data."""
    import numpy as np
    from gguf import GGMLQuantizationType, GGUFWriter

    writer = GGUFWriter(path, architecture)
    for key, value in values.items():
        _add(writer, key, value)
    for tensor in tensors:
        writer.add_tensor_info(
            tensor.weight.name,
            tensor.weight.shape,
            np.dtype(np.float32),
            tensor.encoding.tensor_bytes(tensor.weight.shape),
            raw_dtype=GGMLQuantizationType[tensor.encoding.name],
        )
    with closing(writer):
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
    return padded(path.stat().st_size)


def _add(writer: GGUFWriter, key: str, value: Value) -> None:
    """Add one key with the GGUF type its readers expect: u32 integers, f32 numbers."""
    if isinstance(value, str):
        writer.add_string(key, value)
    elif isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    else:
        writer.add_array(key, list(value))
