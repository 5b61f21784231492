"""Each tensor of an artifact against the checkpoint's, and against others of its encoding.

An encoding costs all its tensors about the same. One that is much further from its checkpoint than
the others of its kind has been damaged, whatever the means over the whole say; and a single damaged
block, which no mean over a tensor shows, stands out of its own row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgepack.errors import DamagedInput, Unsupported
from edgepack.fidelity.checks import Check, verdict_of
from edgepack.fidelity.tensors import ROUNDED, WORTHLESS, Distance, distance
from edgepack.formats.protocol import StoredTensor, Weights
from edgepack.formats.slabs import Slab, slabs
from edgepack.formats.stream import in_order
from edgepack.models.safetensors import widened

BLOCK: Final = 32  # weights: the smallest that share a scale, or a part of those that do
NEIGHBOURS: Final = 256  # weights whose largest a block's error is measured by
FAR: Final = 4.0
"""Times the median of a cohort. On fixtures/reasoner, in sixteen schemes of three formats, no
quantized tensor is beyond 1.1 times its cohort's relative error, nor 1.3 times its worst block."""
COHORT: Final = 3  # tensors; with fewer, what the encoding's bits cost is the measure
USUAL: Final = 2.0
"""Relative error times 2^bits: 1.4 to 2.1 on fixtures/reasoner, from 2 to 8 bits."""
USUAL_BLOCK: Final = 0.7
"""The same of the worst block: 0.5 to 0.85."""
FAINT: Final = 1e-4  # of a tensor's largest weight: rows below may well be stored as zeros


class Facts(NamedTuple):
    """Of a part of a tensor, or the whole of it.

    `worst` is the largest error of a block (root mean square), over the largest weight near it;
    `lost` counts weights that are not finite, `zeros` and `constant` rows that only the artifact
    has so.
    """

    distance: Distance = Distance()
    worst: float = 0.0
    lost: int = 0
    zeros: int = 0
    constant: int = 0

    def joined(self, other: Facts) -> Facts:
        counts = (a + b for a, b in zip(self[2:], other[2:], strict=True))
        return Facts(self.distance.joined(other.distance), max(self.worst, other.worst), *counts)


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """One tensor, under its GGUF name whatever the format; `bits` of a weight, scales aside."""

    name: str
    encoding: str
    bits: int
    facts: Facts


def tensor_checks(
    stored: Callable[[], Iterable[StoredTensor]],
    model: Weights,
    progress: Callable[[int, int], None],
) -> tuple[Check, ...]:
    """The checks on what an artifact holds; a tensor that is missing, or of another shape, fails.

    `stored` reads it. What is in no encoding known here is not looked at.
    """
    try:
        found = tensor_facts(stored(), model, progress)
    except DamagedInput as error:
        return (Check("tensors", False, error.message),)
    except Unsupported as error:
        return (Check("tensors", None, f"not compared: {error.message}"),)
    sound = [tensor for tensor in found if not tensor.facts.lost]
    count = f"{len(found)} tensors"
    return (
        verdict_of("finite values", _lost(found), f"{count} have no other"),
        verdict_of("rows", _empty_rows(sound), f"{count} have no row that is zeros or constant"),
        verdict_of("tensors", _far(sound), f"{count} are as near as {_kinds(found)} allows"),
    )


def tensor_facts(
    stored: Iterable[StoredTensor], model: Weights, progress: Callable[[int, int], None]
) -> tuple[TensorFacts, ...]:
    """Facts of every tensor, decoded slab by slab on all cores. Raises as reading it does."""
    done, found = 0, dict[str, tuple[StoredTensor, Facts]]()
    for tensor, slab, facts in in_order(_jobs(stored, model)):
        _, before = found.get(tensor.weight.name, (tensor, Facts()))
        found[tensor.weight.name] = tensor, before.joined(facts)
        done += slab.elements
        progress(done, model.decoder.parameters)
    return tuple(
        TensorFacts(name, tensor.encoding, 8 * tensor.size // tensor.weight.elements, facts)
        for name, (tensor, facts) in found.items()
    )


Looked = tuple[StoredTensor, Slab, Facts]


def _jobs(stored: Iterable[StoredTensor], model: Weights) -> Iterator[Callable[[], Looked]]:
    for tensor in stored:
        vector = len(tensor.weight.shape) == 1
        for slab in slabs(model.ref(tensor.weight), 1 if vector else tensor.multiple):
            yield partial(_looked_at, tensor, slab)


def _looked_at(tensor: StoredTensor, slab: Slab) -> Looked:
    own = widened(slab.ref.read_stored(slab.start, slab.stop))
    return tensor, slab, facts_of(tensor.read(slab.start, slab.stop), own)


def facts_of(stored: NDArray[np.float32], own: NDArray[np.float32]) -> Facts:
    """Of rows [n, columns] as they are stored, and the checkpoint's own."""
    lost = int((~np.isfinite(stored)).sum())
    if lost:
        return Facts(lost=lost)
    faint = FAINT * np.abs(own).max(initial=0.0)
    zeros = (stored == 0).all(axis=-1) & (np.abs(own).max(axis=-1) > faint)
    level = (np.ptp(stored, axis=-1) == 0) & (np.ptp(own, axis=-1) > faint) & ~zeros
    return Facts(
        distance(stored, own), worst_block(stored, own), 0, int(zeros.sum()), int(level.sum())
    )


def worst_block(stored: NDArray[np.float32], own: NDArray[np.float32]) -> float:
    """The largest root mean square error of BLOCK weights, over the largest of the NEIGHBOURS they
    are among; 0 for rows that are no multiple of BLOCK."""
    columns = own.shape[-1]
    if columns % BLOCK:
        return 0.0
    near = NEIGHBOURS if columns % NEIGHBOURS == 0 else columns
    errors = np.sqrt(np.square(stored - own).reshape(-1, BLOCK).mean(axis=-1))
    largest = np.abs(own).reshape(-1, near).max(axis=-1)
    scales = np.repeat(largest, near // BLOCK)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.where(errors > 0, errors / scales, 0.0).max(initial=0.0))


def _lost(found: Sequence[TensorFacts]) -> Iterator[str]:
    for tensor in found:
        if tensor.facts.lost:
            yield f"{tensor.name} ({tensor.encoding}) has {tensor.facts.lost} that are not finite"


def _empty_rows(found: Sequence[TensorFacts]) -> Iterator[str]:
    for tensor in found:
        zeros, constant = tensor.facts.zeros, tensor.facts.constant
        if zeros or constant:
            yield (
                f"{tensor.name} ({tensor.encoding}) has {zeros} rows of zeros and {constant} of "
                "one value that the checkpoint has not"
            )


def _far(found: Sequence[TensorFacts]) -> Iterator[str]:
    """Worst first within an encoding."""
    cohorts: dict[str, list[TensorFacts]] = defaultdict(list)
    for tensor in found:
        cohorts[tensor.encoding].append(tensor)
    for encoding, cohort in cohorts.items():
        usual, blocks = _usual(cohort)
        for tensor in sorted(cohort, key=lambda each: -each.facts.distance.relative_rmse):
            told = _distance_told(tensor, usual) or _block_told(tensor, blocks)
            if told:
                yield f"{tensor.name} ({encoding}) {told}"


def _usual(cohort: Sequence[TensorFacts]) -> tuple[float, float]:
    """Relative error and worst block of tensors of one encoding that nothing has happened to.

    A cohort that is damaged as a whole must not be its own measure: twice what the bits cost is.
    """
    step = 0.5 ** min(tensor.bits for tensor in cohort)
    if len(cohort) < COHORT:
        return USUAL * step, USUAL_BLOCK * step
    return (
        min(median(tensor.facts.distance.relative_rmse for tensor in cohort), 2 * USUAL * step),
        min(median(tensor.facts.worst for tensor in cohort), 2 * USUAL_BLOCK * step),
    )


def _distance_told(tensor: TensorFacts, usual: float) -> str:
    found = tensor.facts.distance.relative_rmse
    if found < ROUNDED.get(tensor.encoding, min(FAR * usual, WORTHLESS)):
        return ""
    return f"has a relative error of {found:.3g}; {usual:.3g} is usual for its encoding here"


def _block_told(tensor: TensorFacts, usual: float) -> str:
    found = tensor.facts.worst
    if not found or found < ROUNDED.get(tensor.encoding, FAR * usual):
        return ""
    return (
        f"has a block that is off by {found:.3g} of the largest weight near it; {usual:.3g} is "
        "usual for the worst of its encoding here"
    )


def _kinds(found: Sequence[TensorFacts]) -> str:
    return ", ".join(dict.fromkeys(tensor.encoding for tensor in found))
