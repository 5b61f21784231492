"""The one pass over the weights: each slab read once, encoded for every artifact on all cores.

    checkpoint -> slabs -> finite? -> every plan's encoder -> the files, at places known beforehand

Memory is bounded by the slabs in flight, whatever the size of a tensor. Reading and encoding
release the interpreter's lock, so threads are enough.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from io import RawIOBase
from math import isfinite, lcm
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from edgepack.errors import DamagedInput, OutputError
from edgepack.formats.artifact import Artifact
from edgepack.formats.protocol import Format, Piece, Plan, Progress
from edgepack.memory import DEFAULT_CONTEXT
from edgepack.models import Checkpoint, TensorRef, Weight
from edgepack.models.safetensors import widened
from edgepack.quant.schemes import Scheme
from edgepack.units import format_bytes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgepack.models.safetensors import Stored

SLAB_ELEMENTS = 1024 * 1024  # 4 MiB of float32: still in the cache when it is encoded

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Target:
    """One artifact to write, and the folder it goes to; `context` as `Format.plan` takes it."""

    format: Format
    scheme: Scheme
    folder: Path
    context: int = DEFAULT_CONTEXT


def write(
    checkpoint: Checkpoint, targets: Sequence[Target], progress: Progress
) -> tuple[Artifact, ...]:
    """Write every target from one read of `checkpoint`; each is described as read back from disk.

    On any error the files are left as they are, for the caller's folder to go. Raises DamagedInput
    for weights that are not finite, or too large for their encoding, and for a source that
    changes; OutputError where the disk refuses.
    """
    plans = [target.format.plan(checkpoint, target.scheme, target.context) for target in targets]
    total, done = sum(w.elements for w in checkpoint.decoder.weights if w.source), 0
    with ExitStack() as stack:
        outputs = [
            stack.enter_context(Output(plan, target.folder))
            for plan, target in zip(plans, targets, strict=True)
        ]
        for elements, pieces in in_order(_jobs(checkpoint, plans)):
            for output, written in zip(outputs, pieces, strict=True):
                output.write(written)
            done += elements
            progress(done, total)
    return tuple(
        target.format.inspect(target.folder / plan.files[0].name)
        for plan, target in zip(plans, targets, strict=True)
    )


class Output:
    """The files of one plan, open: heads in place, sizes final, pieces written as they come."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._planned, self._folder = plan.files, folder
        self._files: list[RawIOBase] = []

    def __enter__(self) -> Output:
        for planned in self._planned:
            path = self._folder / planned.name
            try:
                file = path.open("wb", buffering=0)  # a full disk is met in write, not in close
                self._files.append(file)
                _write_whole(file, planned.head)
                file.truncate(planned.size)
            except OSError as error:
                self.__exit__()
                raise _disk(path, error) from error
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()

    def write(self, pieces: Iterable[Piece]) -> None:
        """Raises OutputError where the disk refuses."""
        for piece in pieces:
            file = self._files[piece.file]
            try:
                file.seek(piece.offset)
                _write_whole(file, piece.data.data)
            except OSError as error:
                raise _disk(self._folder / self._planned[piece.file].name, error) from error


def _write_whole(file: RawIOBase, data: bytes | memoryview) -> None:
    """The system may take less than it is given."""
    rest = memoryview(data).cast("B")
    while rest:
        rest = rest[file.write(rest) :]


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


Encoded = tuple[int, tuple[tuple[Piece, ...], ...]]  # elements, and per plan its pieces


def _jobs(checkpoint: Checkpoint, plans: Sequence[Plan]) -> Iterator[Callable[[], Encoded]]:
    """One job per slab: it is read, checked, and encoded for every plan that stores it.

    What a plan derives comes first, and is that plan's alone.
    """
    for number, plan in enumerate(plans):
        for derived in plan.derived():
            yield partial(_encode_derived, len(plans), number, plan, *derived)
    for weight in checkpoint.decoder.weights:
        if weight.source is None:
            continue
        vector = len(weight.shape) == 1
        multiple = 1 if vector else lcm(*(plan.multiple(weight) for plan in plans))
        for slab in slabs(checkpoint.ref(weight), multiple):
            yield partial(_read_and_encode, plans, weight, slab)


def _encode_derived(
    plans: int, number: int, plan: Plan, weight: Weight, start: int, rows: NDArray[np.float32]
) -> Encoded:
    """As `_read_and_encode`, for the plan of this number alone; no weight of the model is done."""
    pieces = plan.encode(weight, start, rows)
    return 0, tuple(pieces if other == number else () for other in range(plans))


def _read_and_encode(plans: Sequence[Plan], weight: Weight, slab: Slab) -> Encoded:
    rows, peak = _widened(slab.ref.read_stored(slab.start, slab.stop))
    encodings = [plan.encoding(weight) for plan in plans]
    largest = min((e.largest for e in encodings if e), default=float("inf"))
    if not isfinite(peak) or peak > largest:
        raise _beyond(rows, slab, largest)
    return rows.size, _encoded(plans, weight, slab.start, rows)


def _encoded(
    plans: Sequence[Plan], weight: Weight, start: int, rows: NDArray[np.float32]
) -> tuple[tuple[Piece, ...], ...]:
    return tuple(
        plan.encode(weight, start, rows) if plan.encoding(weight) else () for plan in plans
    )


def _widened(stored: Stored) -> tuple[NDArray[np.float32], float]:
    """Rows in float32, and their largest magnitude: NaN or infinite if one of them is."""
    import numpy as np

    from edgepack.quant.kernels import widening

    peak = np.zeros(1, np.float32)
    if stored.dtype == np.uint16:
        rows = np.empty(stored.shape, np.float32)
        widening.brain(stored.view(np.uint16).reshape(-1), rows.reshape(-1), peak)
    else:
        rows = widened(stored)
        widening.magnitude(rows.reshape(-1), peak)
    return rows, float(peak[0])


def _beyond(rows: NDArray[np.float32], slab: Slab, largest: float) -> DamagedInput:
    """The error for the first weight that is NaN, infinite, or else beyond `largest`."""
    import numpy as np

    finite = np.isfinite(rows)
    bad = ~finite if not finite.all() else np.abs(rows) > largest
    row, column = (int(i[0]) for i in np.nonzero(bad))
    place = f"at row {slab.start + row}, column {column}"
    found = f"{slab.ref.file}: tensor {slab.ref.name} holds {rows[row, column]} {place}"
    if not finite.all():
        return DamagedInput(
            found, "weights must be finite; take the checkpoint from its source again"
        )
    return DamagedInput(
        f"{found}, beyond the {largest:.3g} that its encoding can hold",
        "choose a scheme of a wider range, such as BF16 or F32",
    )


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


def _processors() -> int:
    """How many processors this process may use; not every system can tell that from all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _disk(path: Path, error: OSError) -> OutputError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputError(
            f"{path}: no space left on the device", "free some, or choose another -o"
        )
    size = format_bytes(path.stat().st_size) if path.exists() else "nothing"
    return OutputError(
        f"{path}: cannot write: {error.strerror or error} ({size} written)", "check the folder"
    )
