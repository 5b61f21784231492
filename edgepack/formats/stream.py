"""The one pass over the weights: each slab read once, encoded for every artifact on all cores.

    model -> jobs (slabs) -> on all cores, in order -> the files, at places known beforehand

Memory is bounded by the slabs in flight, whatever the size of a tensor. Reading and encoding
release the interpreter's lock, so threads are enough.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

from edgepack import __version__
from edgepack.formats import slabs
from edgepack.formats.artifact import Artifact
from edgepack.formats.journal import NAME, Journal
from edgepack.formats.output import Output, disk_error
from edgepack.formats.protocol import DEFAULTS, Format, Options, Plan, Progress, Weights
from edgepack.models.source import check_unchanged
from edgepack.quant.schemes import Scheme

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Target:
    """One artifact to write, and the folder it goes to."""

    format: Format
    scheme: Scheme
    folder: Path
    options: Options = DEFAULTS


def write(
    model: Weights,
    targets: Sequence[Target],
    progress: Progress,
    root: Path | None = None,
) -> tuple[Artifact, ...]:
    """Write every target from one read of `model`; each is described as read back from disk.

    With `root`, a folder above all targets, a journal there keeps count: after an interruption the
    same call goes on where it was. The journal is left for the caller to remove.

    On any error the files are left as they are. Raises DamagedInput for weights that are not
    finite, or too large for their encoding, and for a source that changes; OutputError where the
    disk refuses, DiskFull where it is full: what the journal counts is in the files then.
    """
    plans = [target.format.plan(model, target.scheme, target.options) for target in targets]
    total = sum(weight.elements for weight in model.decoder.weights if weight.source)
    with ExitStack() as stack:
        journal = stack.enter_context(_journal(model, targets, plans, root)) if root else None
        finished = journal.done if journal else 0
        outputs = [
            stack.enter_context(Output(plan, target.folder, resumed=finished > 0))
            for plan, target in zip(plans, targets, strict=True)
        ]
        jobs = slabs.jobs(model, plans)
        done = sum(job.elements for job in islice(jobs, finished))
        steps = (partial(_encode_and_write, job, outputs) for job in jobs)
        written = stack.enter_context(closing(in_order(steps)))  # ends before the files close
        for count, elements in enumerate(written, finished + 1):
            if journal:
                journal.finish(count)
            done += elements
            progress(done, total)
    check_unchanged(model.stamps)
    return tuple(
        target.format.inspect(target.folder / plan.files[0].name)
        for plan, target in zip(plans, targets, strict=True)
    )


def _encode_and_write(job: slabs.Job, outputs: Sequence[Output]) -> int:
    """Elements of the slab, which is in the files then."""
    for output, pieces in zip(outputs, job.run(), strict=True):
        output.write(pieces)
    return job.elements


def _journal(
    model: Weights, targets: Sequence[Target], plans: Sequence[Plan], root: Path
) -> Journal:
    """The journal of these plans in `root`; what makes a slab what it is is part of their name."""
    facts = [__version__, str(slabs.SLAB_ELEMENTS), repr(model.decoder)]
    facts += (f"{path} {stamp}" for path, stamp in model.stamps.items())
    files: dict[str, int] = {}
    for target, plan in zip(targets, plans, strict=True):
        if target.options.importance:
            facts.append(target.options.importance.sha256)
        facts += (f"{w.name} {plan.encoding(w)}" for w in model.decoder.weights if w.source)
        for planned in plan.files:
            facts.append(hashlib.sha256(planned.head).hexdigest())
            files[(target.folder / planned.name).relative_to(root).as_posix()] = planned.size
    try:
        return Journal(root / NAME, facts, files)
    except OSError as error:
        raise disk_error(root / NAME, error) from error


def in_order(
    jobs: Iterable[Callable[[], T]], threads: int | None = None
) -> Generator[T, None, None]:
    """Run jobs on `threads` threads and yield results in order, a few jobs ahead at most.

    No job runs on after it was closed.
    """
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
