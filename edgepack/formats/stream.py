"""The one pass over the weights: slabs of rows read and encoded on all cores, given on in order.

Memory is bounded by the slabs in flight, whatever the size of a tensor. Reading and encoding
release the interpreter's lock, so threads are enough.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from edgepack.errors import DamagedInput
from edgepack.models import TensorRef

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SLAB_ELEMENTS = 4 * 1024 * 1024  # 16 MiB of float32: fits caches poorly, overlaps well

T = TypeVar("T")
Progress = Callable[[int], None]  # called with elements done since the last call


@dataclass(frozen=True, slots=True)
class Slab:
    """Rows [start, stop) of one tensor."""

    ref: TensorRef
    start: int
    stop: int


def slabs(ref: TensorRef, multiple: int = 1) -> Iterator[Slab]:
    """Cut a tensor into slabs of about SLAB_ELEMENTS, each a whole multiple of `multiple` rows."""
    rows = max(1, SLAB_ELEMENTS // max(1, ref.columns) // multiple) * multiple
    for start in range(0, ref.rows, rows):
        yield Slab(ref, start, min(start + rows, ref.rows))


def read_finite(slab: Slab) -> NDArray[np.float32]:
    """The slab's rows as float32 [n, columns]; raises DamagedInput naming the first NaN or inf."""
    import numpy as np

    rows = slab.ref.read_rows(slab.start, slab.stop)
    finite = np.isfinite(rows)
    if not finite.all():
        row, column = (int(i[0]) for i in np.nonzero(~finite))
        raise DamagedInput(
            f"{slab.ref.file}: tensor {slab.ref.name} holds {rows[row, column]} "
            f"at row {slab.start + row}, column {column}",
            "weights must be finite; take the checkpoint from its source again",
        )
    return rows


def _processors() -> int:
    """How many processors this process may use; not every system can tell that from all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_order(jobs: Iterable[Callable[[], T]], threads: int | None = None) -> Iterator[T]:
    """Run jobs on `threads` threads and yield results in order, a few jobs ahead at most."""
    workers = threads or _processors()
    pending: deque[Future[T]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for job in jobs:
            pending.append(pool.submit(job))
            if len(pending) > workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
