"""Checkpoint -> one GGUF file: slab by slab, encoded on all cores, written in order."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edgepack.errors import OutputError
from edgepack.formats.gguf.header import padded, write_header
from edgepack.formats.gguf.metadata import metadata
from edgepack.formats.protocol import Progress
from edgepack.formats.stream import Slab, in_order, read_finite, slabs
from edgepack.models import Checkpoint
from edgepack.models.rope import frequency_divisors
from edgepack.quant.schemes import Assignment, Scheme
from edgepack.units import format_bytes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ROTATED_ROLES = ("attn_q.weight", "attn_q.bias", "attn_k.weight", "attn_k.bias")


def write_gguf(checkpoint: Checkpoint, scheme: Scheme, path: Path, progress: Progress) -> None:
    """Write `path`; on any error the file is left as it is, for the caller's folder to go.

    Raises DamagedInput, Unsupported, OutputError.
    """
    tensors = scheme.assign(checkpoint.decoder)
    values = metadata(checkpoint, scheme)
    total = checkpoint.decoder.parameters
    done = 0
    try:
        start = write_header(path, checkpoint.decoder.gguf.architecture, values, tensors)
        with path.open("r+b") as file:
            file.truncate(start + sum(padded(tensor_bytes(tensor)) for tensor in tensors))
            position = start
            file.seek(position)
            for tensor in tensors:
                for elements, data in in_order(_jobs(checkpoint, tensor)):
                    file.write(data.data)
                    done += elements
                    progress(done, total)
                position += padded(tensor_bytes(tensor))
                file.seek(position)
    except OSError as error:
        raise _disk(path, error) from error


def tensor_bytes(tensor: Assignment) -> int:
    return tensor.encoding.tensor_bytes(tensor.weight.shape)


def _jobs(
    checkpoint: Checkpoint, tensor: Assignment
) -> Iterator[Callable[[], tuple[int, NDArray[np.uint8]]]]:
    """One job per slab: elements encoded, and their bytes."""
    weight, encoding = tensor.weight, tensor.encoding
    if weight.source is None:
        divisors = frequency_divisors(checkpoint.decoder.layers[0].attention.rope)
        yield lambda: (weight.elements, encoding.encode(divisors.reshape(1, -1)))
        return
    head_dim = _interleaved_head(checkpoint, tensor)
    vector = len(weight.shape) == 1
    for slab in slabs(checkpoint.ref(weight), multiple=1 if vector else head_dim):

        def job(slab: Slab = slab) -> tuple[int, NDArray[np.uint8]]:
            rows = read_finite(slab)
            if head_dim > 1:
                columns = rows.shape[1]
                heads = interleave(rows.reshape(-1, 1) if vector else rows, head_dim)
                rows = heads.reshape(-1, columns)
            return rows.size, encoding.encode(rows)

        yield job


def _interleaved_head(checkpoint: Checkpoint, tensor: Assignment) -> int:
    """Rows per head where this tensor's rotary pairs must become neighbours, else 1."""
    weight, decoder = tensor.weight, checkpoint.decoder
    if not decoder.gguf.interleaved_rope or weight.role not in ROTATED_ROLES:
        return 1
    assert weight.layer is not None
    return decoder.layers[weight.layer].attention.head_dim


def interleave(rows: NDArray[np.float32], head_dim: int) -> NDArray[np.float32]:
    """Reorder [heads x head_dim, n]: rotated pairs (i, i + head_dim/2) become (2i, 2i + 1)."""
    import numpy as np

    halves = rows.reshape(-1, 2, head_dim // 2, rows.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(rows.shape)


def _disk(path: Path, error: OSError) -> OutputError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputError(
            f"{path}: no space left on the device", "free some, or choose another -o"
        )
    size = format_bytes(path.stat().st_size) if path.exists() else "nothing"
    return OutputError(
        f"{path}: cannot write: {error.strerror or error} ({size} written)", "check the folder"
    )
