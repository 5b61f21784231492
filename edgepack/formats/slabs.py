"""The weights of a model cut into slabs: the jobs of the one pass over them.

slab -> read -> float32, all finite? -> every plan's encoder -> pieces
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite, lcm
from typing import TYPE_CHECKING

from edgepack.errors import DamagedInput
from edgepack.formats.protocol import Piece, Plan, Rows, Weights
from edgepack.models import Weight
from edgepack.models.safetensors import widened

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgepack.models.safetensors import Stored

SLAB_ELEMENTS = 512 * 1024  # 2 MiB of float32: still in the cache when it is encoded

Pieces = tuple[tuple[Piece, ...], ...]  # of every plan


@dataclass(frozen=True, slots=True)
class Slab:
    """Rows [start, stop) of one tensor."""

    ref: Rows
    start: int
    stop: int

    @property
    def elements(self) -> int:
        return (self.stop - self.start) * self.ref.columns


def slabs(ref: Rows, multiple: int = 1) -> Iterator[Slab]:
    """Cut a tensor into slabs of about SLAB_ELEMENTS, each a whole multiple of `multiple` rows."""
    rows = max(1, SLAB_ELEMENTS // max(1, ref.columns) // multiple) * multiple
    for start in range(0, ref.rows, rows):
        yield Slab(ref, start, min(start + rows, ref.rows))


@dataclass(frozen=True, slots=True)
class Job:
    """One slab to encode: `elements` of the model's weights; `run` reads nothing before."""

    elements: int
    run: Callable[[], Pieces]


def jobs(model: Weights, plans: Sequence[Plan]) -> Iterator[Job]:
    """A job for every slab, always in the same order: it is encoded for each plan that stores it.

    What a plan derives comes first, and is that plan's alone.
    """
    for number, plan in enumerate(plans):
        for derived in plan.derived():
            yield Job(0, partial(_encode_derived, len(plans), number, plan, *derived))
    for weight in model.decoder.weights:
        if weight.source is None:
            continue
        vector = len(weight.shape) == 1
        multiple = 1 if vector else lcm(*(plan.multiple(weight) for plan in plans))
        for slab in slabs(model.ref(weight), multiple):
            yield Job(slab.elements, partial(_read_and_encode, plans, weight, slab))


def _encode_derived(
    plans: int, number: int, plan: Plan, weight: Weight, start: int, rows: NDArray[np.float32]
) -> Pieces:
    """As `_read_and_encode`, for the plan of this number alone."""
    pieces = plan.encode(weight, start, rows)
    return tuple(pieces if other == number else () for other in range(plans))


def _read_and_encode(plans: Sequence[Plan], weight: Weight, slab: Slab) -> Pieces:
    rows, peak = _widened(slab.ref.read_stored(slab.start, slab.stop))
    encodings = [plan.encoding(weight) for plan in plans]
    largest = min((e.largest for e in encodings if e), default=float("inf"))
    if not isfinite(peak) or peak > largest:
        raise _beyond(rows, slab, largest)
    return tuple(
        plan.encode(weight, slab.start, rows) if encoding else ()
        for plan, encoding in zip(plans, encodings, strict=True)
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
