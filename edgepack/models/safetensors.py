"""safetensors headers: every bound checked before anything is allocated, and rows read by position.

Layout: u64 header length (little endian), a JSON object `name -> {dtype, shape, data_offsets}`,
then the tensors back to back. Files are read with `pread`, never mapped: a file truncated under
the reader is then an error and not a crash.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepack.errors import DamagedInput, Unsupported

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Stored = NDArray[np.float32 | np.float16 | np.uint16]

CHANGED = "the file changed while it was read, or the disk failed; fetch it again"

METADATA = "__metadata__"
HEADER_LIMIT = 100_000_000  # the format's own limit, in bytes

ITEM_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1,
    "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4,
    "I64": 8, "U64": 8, "F64": 8,
}  # fmt: skip
READABLE = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}
INDEX = "model.safetensors.index.json"
# The same weights under Mistral's own names, and weights that are no model by themselves.
OTHER_LAYOUTS = ("consolidated", "adapter")
SHARD_NAME = re.compile(r"[\w.-]{1,200}\.safetensors", re.ASCII)


@dataclass(frozen=True, slots=True)
class TensorRef:
    """Where one tensor lies: `offset` is absolute in `file`; `nbytes` = product(shape) x item."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    offset: int
    nbytes: int

    @property
    def rows(self) -> int:
        """Rows of length `columns`; a vector is one row."""
        return prod(self.shape[:-1])

    @property
    def columns(self) -> int:
        return self.shape[-1] if self.shape else 1

    def read_rows(self, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Rows [start, stop) as float32 [n, columns]. Raises as `read_stored` does."""
        return widened(self.read_stored(start, stop))

    def read_stored(self, start: int = 0, stop: int | None = None) -> Stored:
        """Rows [start, stop) as they are stored, [n, columns]; bfloat16 as its bits.

        Raises Unsupported for a dtype that is not a float weight, DamagedInput if the file has
        become shorter than its header says.
        """
        import numpy as np

        if self.dtype not in READABLE:
            raise Unsupported(
                f"{self.file}: tensor {self.name} is {self.dtype}",
                f"edgepack reads {', '.join(READABLE)} weights; start from the unquantized model",
            )
        stop = self.rows if stop is None else stop
        row_bytes = self.columns * ITEM_BYTES[self.dtype]
        offset, count = self.offset + start * row_bytes, (stop - start) * row_bytes
        raw = read_exactly(self.file, self.name, offset, count)
        return np.frombuffer(raw, READABLE[self.dtype]).reshape(stop - start, self.columns)

    def read(self) -> NDArray[np.float32]:
        """The whole tensor as float32 in its own shape; for tensors known to be small."""
        return self.read_rows().reshape(self.shape)


def read_exactly(path: Path, name: str, offset: int, count: int) -> bytearray:
    """`count` bytes of the tensor called `name`. Raises DamagedInput if they are not there."""
    buffer = bytearray(count)
    view, filled = memoryview(buffer), 0
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(offset)
            while filled < count and (got := file.readinto(view[filled:])):
                filled += got
    except OSError as error:
        raise DamagedInput(
            f"{path}: tensor {name} cannot be read: {error.strerror}", CHANGED
        ) from error
    if filled < count:
        raise DamagedInput(f"{path}: tensor {name} ends after {filled} of {count} bytes", CHANGED)
    return buffer


def widened(stored: Stored, into: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """Rows as `read_stored` gives them, in float32: written `into` an array of their shape."""
    import numpy as np

    if stored.dtype == np.float32:
        return stored.astype(np.float32, copy=False)
    wide = np.empty(stored.shape, np.float32) if into is None else into
    if stored.dtype == np.uint16:
        # bfloat16 is the upper half of a float32
        np.left_shift(stored, np.uint32(16), out=wide.view(np.uint32), dtype=np.uint32)
    else:
        np.copyto(wide, stored)
    return wide


def read_header(path: Path) -> dict[str, TensorRef]:
    """The tensors of one file. Raises DamagedInput for every broken invariant of the format."""
    size, length, header = _read_object(path)
    data_bytes = size - 8 - length
    refs = [
        _tensor(path, name, entry, 8 + length, data_bytes)
        for name, entry in header.items()
        if name != METADATA
    ]
    _check_contiguous(path, refs, 8 + length, size)
    return {ref.name: ref for ref in refs}


def read_metadata(path: Path) -> Mapping[str, Any]:
    """What the header says of the file itself, `{}` where nothing. Raises DamagedInput."""
    metadata = _read_object(path)[2].get(METADATA, {})
    if not isinstance(metadata, dict):
        raise _damaged(path, f"{METADATA} is not an object")
    return metadata


def _read_object(path: Path) -> tuple[int, int, Mapping[str, Any]]:
    """Size of the file, bytes of its header, and the header."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            prefix = file.read(8)
            length = int.from_bytes(prefix, "little")
            if len(prefix) < 8 or length > min(HEADER_LIMIT, size - 8):
                raise _damaged(path, f"header of {length} bytes in a file of {size}")
            text = file.read(length)
    except OSError as error:
        raise DamagedInput(
            f"{path}: {error.strerror or error}", "the file must be readable"
        ) from error
    return size, length, _parse(path, text)


def _parse(path: Path, text: bytes) -> Mapping[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = dict(pairs)
        if len(names) != len(pairs):
            raise _damaged(path, "a name occurs twice in the header")
        return names

    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"header is not JSON ({error})") from error
    if not isinstance(header, dict):
        raise _damaged(path, "header is not a JSON object")
    return header


def _tensor(path: Path, name: str, entry: Any, start: int, data_bytes: int) -> TensorRef:
    """One header entry, with its offsets inside the data and its size equal to its shape's."""
    if not isinstance(entry, dict):
        raise _damaged(path, f"tensor {name!r} is not described by an object")
    dtype = entry.get("dtype")
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise _damaged(path, f"tensor {name!r} has unknown dtype {dtype!r}")
    shape = _naturals(path, name, entry.get("shape"))
    offsets = _naturals(path, name, entry.get("data_offsets"))
    if len(offsets) != 2:
        raise _damaged(path, f"tensor {name!r} has offsets {list(offsets)}")
    begin, end = offsets
    if not begin <= end <= data_bytes:
        raise _damaged(path, f"tensor {name!r} lies at {begin}..{end} of {data_bytes} data bytes")
    nbytes = prod(shape) * ITEM_BYTES[dtype]
    if nbytes != end - begin:
        raise _damaged(
            path, f"tensor {name!r} {dtype}{list(shape)} needs {nbytes} bytes, has {end - begin}"
        )
    return TensorRef(name, dtype, shape, path, start + begin, nbytes)


def _naturals(path: Path, name: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(item) is int and item >= 0 for item in value):
        raise _damaged(path, f"tensor {name!r} has {value!r} where whole numbers belong")
    return tuple(value)


def _check_contiguous(path: Path, refs: list[TensorRef], start: int, size: int) -> None:
    """No hole, no overlap, nothing after the last tensor."""
    position = start
    for ref in sorted(refs, key=lambda ref: (ref.offset, ref.nbytes)):
        if ref.offset != position:
            what = "overlaps the one before" if ref.offset < position else "leaves a hole before it"
            raise _damaged(path, f"tensor {ref.name!r} {what}")
        position += ref.nbytes
    if position != size:
        raise _damaged(path, f"tensors end at byte {position}, the file at {size}")


def _damaged(path: Path, what: str) -> DamagedInput:
    return DamagedInput(
        f"{path}: not a sound safetensors file: {what}", "fetch the file again from its source"
    )


def weight_files(names: Iterable[str]) -> list[str]:
    """Of the files beside a config.json without an index, those that may hold its weights."""
    return sorted(
        name
        for name in names
        if name.endswith(".safetensors") and "/" not in name and not name.startswith(OTHER_LAYOUTS)
    )


def read_index(path: Path) -> dict[str, str]:
    """`model.safetensors.index.json`: tensor name -> shard file name, names checked.

    Raises DamagedInput unless every shard is a plain file name in the same folder.
    """
    try:
        index = json.loads(path.read_text("utf-8"))
        weight_map = index["weight_map"]
        items = [(str(name), str(shard)) for name, shard in weight_map.items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedInput(
            f"{path}: not a shard index: {error!r}", "it must hold a `weight_map` object"
        ) from error
    for _, shard in items:
        if not SHARD_NAME.fullmatch(shard):
            raise DamagedInput(
                f"{path}: shard name {shard!r} is not a plain .safetensors file name",
                "a shard must lie beside its index",
            )
    return dict(items)
