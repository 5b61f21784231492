"""The initializers of somebody's model.onnx, each one checked against the bytes that are there.

A model names the files of its external data. Onnxruntime opens them, so a name must not lead out
of the model's folder, and a tensor must lie within its file (CVE-2024-27318, CVE-2025-51480).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Final

from edgepack.errors import DamagedInput, missing_extra

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

LARGEST_MODEL: Final = 2**31 - 1  # bytes; protobuf's own limit
# Bits of an element, and edgepack's name of its type. onnx.proto, TensorProto.DataType.
ELEMENTS: Final = {
    1: (32, "F32"), 2: (8, "U8"), 3: (8, "I8"), 4: (16, "U16"), 5: (16, "I16"), 6: (32, "I32"),
    7: (64, "I64"), 9: (8, "BOOL"), 10: (16, "F16"), 11: (64, "F64"), 12: (32, "U32"),
    13: (64, "U64"), 16: (16, "BF16"), 17: (8, "F8_E4M3FN"), 18: (8, "F8_E4M3FNUZ"),
    19: (8, "F8_E5M2"), 20: (8, "F8_E5M2FNUZ"), 21: (4, "U4"), 22: (4, "I4"), 23: (4, "F4_E2M1"),
    24: (8, "F8_E8M0"), 25: (2, "U2"), 26: (2, "I2"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stored:
    """One initializer: in `file` at `offset`, or, where `file` is None, `content`."""

    name: str
    element: str
    shape: tuple[int, ...]
    size: int
    file: Path | None
    offset: int
    content: bytes


def read_model(path: Path) -> ModelProto:
    """The model without its external data. Raises DamagedInput, or Missing without onnx."""
    try:
        from google.protobuf.message import DecodeError
        from onnx import ModelProto
    except ImportError as error:
        raise missing_extra("onnx", "onnx") from error
    try:
        size = path.stat().st_size
        if size > LARGEST_MODEL:
            raise damaged(path, f"it has {size} bytes, protobuf ends at {LARGEST_MODEL}")
        model = ModelProto()
        model.ParseFromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise damaged(path, f"it cannot be read: {reason}") from error
    if not model.ir_version or not model.graph.node or not model.graph.output:
        raise damaged(path, "there is no graph in it")
    return model


def stored(path: Path, model: ModelProto) -> Iterator[Stored]:
    """Every initializer of `model`, which lies at `path`. Raises DamagedInput."""
    names: set[str] = set()
    for tensor in model.graph.initializer:
        if not tensor.name or tensor.name in names:
            raise damaged(path, f"tensor name {tensor.name!r} is empty, or there twice")
        names.add(tensor.name)
        yield _stored(path, tensor)


def damaged(path: Path, what: str) -> DamagedInput:
    return DamagedInput(f"{path}: not a sound ONNX model: {what}", "fetch or make the files again")


def _stored(path: Path, tensor: TensorProto) -> Stored:
    shape = tuple(tensor.dims)
    if tensor.data_type not in ELEMENTS:
        raise damaged(path, f"tensor {tensor.name!r} has unknown type {tensor.data_type}")
    if any(extent < 0 for extent in shape):
        raise damaged(path, f"tensor {tensor.name!r} has shape {list(shape)}")
    bits, element = ELEMENTS[tensor.data_type]
    size = -(-prod(shape) * bits // 8)
    if tensor.data_location != type(tensor).EXTERNAL:
        content = _content(path, tensor, size)
        return Stored(tensor.name, element, shape, size, None, 0, content)
    file, offset = _place(path, tensor, size)
    return Stored(tensor.name, element, shape, size, file, offset, b"")


def _content(path: Path, tensor: TensorProto, size: int) -> bytes:
    """The bytes of a tensor within the model, whichever of protobuf's fields has them."""
    if tensor.HasField("raw_data"):
        content = tensor.raw_data
    else:
        from onnx import numpy_helper

        try:
            content = numpy_helper.to_array(tensor).tobytes()
        except (ValueError, TypeError) as error:
            raise damaged(path, f"tensor {tensor.name!r}: {error}") from error
        size = len(content)  # sub-byte types come unpacked
    if len(content) != size:
        raise damaged(path, f"tensor {tensor.name!r} needs {size} bytes, has {len(content)}")
    return bytes(content)


def _place(path: Path, tensor: TensorProto, size: int) -> tuple[Path, int]:
    """(file, offset) of an external tensor of `size` bytes."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    subject = f"tensor {tensor.name!r}"
    location = entries.get("location", "")
    if location in ("", ".", "..") or any(mark in location for mark in "/\\:\0"):
        raise damaged(path, f"{subject} lies in {location!r}, not a plain file name")
    file = path.parent / location
    offset = _natural(path, subject, entries.get("offset", "0"))
    length = _natural(path, subject, entries.get("length", str(size)))
    if length != size:
        raise damaged(path, f"{subject} needs {size} bytes, is given {length}")
    held = _file_size(path, file)
    if offset + size > held:
        raise damaged(path, f"{subject} ends at byte {offset + size} of {held} in {location}")
    return file, offset


def _natural(path: Path, subject: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise damaged(path, f"{subject} has {text!r} where a number of bytes belongs")
    return int(text)


def _file_size(path: Path, file: Path) -> int:
    """Bytes of a regular file; a link may lead anywhere."""
    try:
        status = file.lstat()
    except OSError as error:
        raise damaged(path, f"its data file {file.name!r}: {error.strerror}") from error
    if not S_ISREG(status.st_mode):
        raise damaged(path, f"its data file {file.name!r} is a link, or no file at all")
    return status.st_size
