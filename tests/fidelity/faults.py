"""Faults for an artifact: a GGUF taken apart, changed in one place, and written again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader, GGUFValueType, GGUFWriter
from numpy.typing import NDArray

Rows = NDArray[np.uint8]
"""A tensor as it is stored, [rows, bytes]; a vector is one row."""
HEADS_OF_A_FILE = ("GGUF.version", "GGUF.tensor_count", "GGUF.kv_count", "general.architecture")


def edited(
    path: Path,
    *,
    keys: Mapping[str, Any] | None = None,
    tensors: Mapping[str, Callable[[Mapping[str, Rows]], Rows] | None] | None = None,
) -> Path:
    """`path` written again beside itself with other values (None: left out) and tensors.

    A key that it has not is written as an unsigned number.

    What makes a tensor is given all of them, as they were.
    """
    reader = GGUFReader(path)
    values, changes = keys or {}, tensors or {}
    architecture = reader.fields["general.architecture"].contents()
    out = path.with_name("faulty.gguf")
    writer = GGUFWriter(out, architecture)
    for key, field in reader.fields.items():
        if key in HEADS_OF_A_FILE:
            continue
        value = values.get(key, field.contents())
        if value is None:
            continue
        inner = field.types[-1] if field.types[0] is GGUFValueType.ARRAY else None
        writer.add_key_value(key, value, field.types[0], inner)
    for key in values.keys() - reader.fields.keys():
        if values[key] is not None:
            writer.add_uint32(key, values[key])
    stored = {tensor.name: _rows(tensor) for tensor in reader.tensors}
    for tensor in reader.tensors:
        change = changes.get(tensor.name, stored.get)
        if change is None:
            continue
        rows = change(stored) if tensor.name in changes else stored[tensor.name]
        raw = np.ascontiguousarray(rows).view(tensor.data.dtype).reshape(tensor.data.shape)
        writer.add_tensor(tensor.name, raw, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out


def _rows(tensor: Any) -> Rows:
    data = np.array(tensor.data)
    return data.view(np.uint8).reshape(data.shape[0] if data.ndim > 1 else 1, -1)
