"""llama.cpp's matrix of importance: a GGUF of squared inputs, summed and counted, one a column.

Source: common_imatrix_load in llama.cpp (common/imatrix-loader.cpp), load_imatrix in
tools/quantize/quantize.cpp.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edgepack.errors import DamagedInput, Missing, Unsupported, UsageError
from edgepack.formats.digests import TensorExtent
from edgepack.formats.gguf.layout import MAGIC
from edgepack.formats.gguf.reader import Head, read_head
from edgepack.formats.gguf.values import Array
from edgepack.formats.importance import Importance
from edgepack.models import Weight
from edgepack.models.digest import sha256_of
from edgepack.quant.encodings import BlockEncoding
from edgepack.quant.ggml import GgmlEncoding
from edgepack.quant.schemes.mix import GgufScheme, quantizable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LARGEST = 1e20  # massive activations reach 1e8; errors weighed beyond 1e26 overflow, ggml aborts
SUMS, COUNTS = ".in_sum2", ".counts"
DATASETS, CHUNKS = "imatrix.datasets", "imatrix.chunk_count"


def read_importance(path: Path) -> Importance:
    """The matrix at `path`.

    Raises Missing where there is no such file, Unsupported for the older binary form and for a GGUF
    that is something else, DamagedInput for sums and counts that break the format.
    """
    if not path.is_file():
        raise Missing(f"{path}: no such file", "--imatrix names what llama-imatrix wrote")
    _refuse_old(path)
    head = read_head(path)
    datasets, chunks = _origin(path, head)
    tensors = {tensor.name: tensor for tensor in head.tensors}
    names = [name.removesuffix(SUMS) for name in tensors if name.endswith(SUMS)]
    if not names:
        raise _fault(path, "it holds no sums", f"tensors NAME{SUMS} are required")
    columns = {name: _columns(path, tensors, name) for name in names}
    return Importance(path, sha256_of(path), datasets, chunks, columns)


def by_weight(
    scheme: GgufScheme, encodings: Mapping[Weight, BlockEncoding], importance: Importance | None
) -> dict[Weight, NDArray[np.float32]]:
    """The importance of every weight's columns; embedding and head may well have none."""
    found = {}
    for weight, encoding in encodings.items():
        if isinstance(encoding, GgmlEncoding):
            encoding.require()
        if importance is None:
            if scheme.needs_importance(weight, encoding.name):
                raise UsageError(
                    f"{weight.name} in {encoding.name} is garbage without an importance matrix, "
                    f"which {scheme.name} therefore needs",
                    "give --imatrix FILE, which llama-imatrix makes of the model's F16",
                )
        elif quantizable(weight):
            columns = importance.of(weight, required=weight.layer is not None)
            if columns is not None:
                found[weight] = columns
    return found


def _refuse_old(path: Path) -> None:
    try:
        with path.open("rb") as file:
            start = file.read(len(MAGIC))
    except OSError as error:
        raise DamagedInput(
            f"{path}: cannot be read: {error.strerror}", "the file must be readable"
        ) from error
    if start != MAGIC:
        raise Unsupported(
            f"{path}: begins with {start!r}, not {MAGIC!r}: no matrix of importance in a GGUF",
            f"llama-imatrix --in-file {path} -o imatrix.gguf rewrites the older binary form",
        )


def _origin(path: Path, head: Head) -> tuple[tuple[str, ...], int]:
    """What it was measured on: datasets, and chunks of them."""
    datasets, chunks = head.values.get(DATASETS), head.values.get(CHUNKS)
    if not isinstance(datasets, Array) or not isinstance(chunks, int):
        raise Unsupported(
            f"{path}: has no {DATASETS} and {CHUNKS}: it is no matrix of importance",
            "--imatrix names what llama-imatrix wrote",
        )
    return tuple(str(dataset) for dataset in datasets.elements()), chunks


def _columns(path: Path, tensors: dict[str, TensorExtent], name: str) -> NDArray[np.float32]:
    """Mean squares: sums over counts, of which there is one for every expert; never seen is 1."""
    import numpy as np

    sums = _values(path, tensors, name + SUMS)
    counts = _values(path, tensors, name + COUNTS)
    if not counts.size or sums.size % counts.size:
        raise _fault(
            path,
            f"{name} has {sums.size} sums and {counts.size} counts",
            "as many sums for every count are required",
        )
    counts = np.rint(counts).reshape(-1, 1)
    rows = sums.reshape(counts.size, -1)
    means = np.ones_like(rows)
    with np.errstate(over="ignore"):
        np.divide(rows, counts, out=means, where=counts > 0)
    if means.max(initial=0) > LARGEST:
        raise _fault(
            path,
            f"{name} has a mean square of {means.max():.3g}",
            f"at most {LARGEST:.0g} is required",
        )
    return means.reshape(-1)


def _values(path: Path, tensors: dict[str, TensorExtent], name: str) -> NDArray[np.float32]:
    """A tensor of float32, finite and not negative."""
    import numpy as np

    tensor = tensors.get(name)
    if tensor is None or tensor.encoding != "F32":
        found = f"is of type {tensor.encoding}" if tensor else "is missing"
        raise _fault(path, f"{name} {found}", "a tensor of F32 is required")
    with path.open("rb") as file:
        file.seek(tensor.offset)
        data = file.read(tensor.size)
    if len(data) != tensor.size:
        raise _fault(path, f"{name} ends early", "the file has become shorter")
    values = np.frombuffer(data, "<f4").astype(np.float32)
    bad = np.nonzero(~(np.isfinite(values) & (values >= 0)))[0]
    if bad.size:
        raise _fault(
            path,
            f"{name} holds {values[bad[0]]} at {bad[0]}",
            "sums of squares, and counts, are finite and not negative",
        )
    return values


def _fault(path: Path, found: str, required: str) -> DamagedInput:
    return DamagedInput(f"{path}: {found}; {required}", "measure it again with llama-imatrix")
