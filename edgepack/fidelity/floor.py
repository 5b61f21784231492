"""What the measurement itself is worth: the reference against itself, and against half-width.

The control is one document that goes through the layers twice, alone each time: any distance
between the two is the machine's, and nothing measured on it means anything.

The noise floor is what half-width arithmetic costs with the weights unchanged: some documents run
once more with whatever a matrix is multiplied with rounded to the type that the checkpoint is
stored in. That is what a runtime does with a BF16 or F16 artifact, so no such artifact can be
nearer, and none has to be. Both share the reference's pass over the weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from edgepack.errors import InvalidMeasurement
from edgepack.fidelity.chunks import Chunk
from edgepack.fidelity.corpus import Document
from edgepack.fidelity.metrics import Metrics, TokenScores, mean, score
from edgepack.fidelity.reference import Lane, States
from edgepack.fidelity.rounding import Arithmetic
from edgepack.models import Checkpoint

FLOOR_TOKENS: Final = 4096
# Beyond this many times below the floor, a quantized artifact is nearer than rounding allows.
SUSPICIOUS: Final = 4
_PLAIN: Final = frozenset({"F32", "F16", "BF16"})


@dataclass(frozen=True, slots=True)
class NoiseFloor:
    """The reference in `arithmetic` from the reference, on some of the documents."""

    arithmetic: str
    documents: int
    tokens: int
    kl_mean: float
    kl_max: float
    top1: float
    hard_flip_count: int


@dataclass(frozen=True, slots=True)
class Control:
    """One document's distance from itself, run twice alone; `kl_max` is zero or there is no report.

    `kl_from_pass` is the largest distance from the same document among all others: rounding alone,
    unless documents see each other.
    """

    document: str
    tokens: int
    kl_max: float
    kl_from_pass: float


@dataclass(frozen=True, slots=True)
class Bench:
    """The lanes of one pass: all chunks, those of the floor once more, the control's twice."""

    chunks: tuple[Chunk, ...]
    floor: tuple[int, ...]
    control: int
    arithmetic: Arithmetic

    def lanes(self) -> tuple[Lane, ...]:
        ids = [chunk.ids for chunk in self.chunks]
        alone = [ids[self.control]]
        return (
            Lane("documents", ids),
            Lane("floor", [ids[i] for i in self.floor], self.arithmetic),
            Lane("control", alone),
            Lane("control again", alone),
        )


def bench(checkpoint: Checkpoint, chunks: Sequence[Chunk], seed: int) -> Bench:
    """Which chunks the floor and the control take: as drawn by `seed`, the shortest of these."""
    order = np.random.default_rng(seed).permutation(len(chunks))
    sizes = np.cumsum([len(chunks[i].ids) for i in order])
    count = max(1, int(np.searchsorted(sizes, FLOOR_TOKENS, side="right")))
    taken = tuple(sorted(int(i) for i in order[:count]))
    shortest = min(taken, key=lambda i: len(chunks[i].ids))
    stored: Arithmetic = "BF16" if "BF16" in checkpoint.dtypes else "F16"
    return Bench(tuple(chunks), taken, shortest, stored)


def noise_floor(
    states: Sequence[States], bench: Bench, documents: Sequence[Document]
) -> NoiseFloor:
    """The floor, from the states of `bench.lanes()`."""
    whole, rounded, *_ = states
    pairs = [(whole, i, rounded, n) for n, i in enumerate(bench.floor)]
    found = TokenScores.concatenate([_between(*p, bench.chunks[p[1]], documents) for p in pairs])
    return NoiseFloor(
        bench.arithmetic,
        len({bench.chunks[i].document for i in bench.floor}),
        len(found.kl),
        mean(found.kl),
        float(found.kl.max()),
        float(found.agrees.mean()),
        int(found.hard_flip.sum()),
    )


def control(states: Sequence[States], bench: Bench, documents: Sequence[Document]) -> Control:
    """The control, from the states of `bench.lanes()`.

    Raises InvalidMeasurement where the reference is not the same twice: the measurement is invalid.
    """
    whole, _, once, again = states
    chunk = bench.chunks[bench.control]
    name = documents[chunk.document].name
    twice = _between(once, 0, again, 0, chunk, documents)
    if twice.kl.any() or not np.array_equal(once.hidden, again.hidden):
        raise InvalidMeasurement(
            f"invalid measurement: {name} run twice by the reference is {twice.kl.max():.3g} nats "
            "from itself",
            "this machine does not compute the same twice: look at its memory and its BLAS",
        )
    beside = _between(once, 0, whole, bench.control, chunk, documents)
    return Control(name, len(twice.kl), 0.0, float(beside.kl.max()))


def suspicions(
    overall: Metrics, floor: NoiseFloor, encodings: frozenset[str] | None, artifact: str
) -> Iterator[str]:
    """Notes on an artifact that is nearer to the reference than it can be.

    `encodings` are its tensors', None where they are not known. Raises InvalidMeasurement where a
    quantized one is at no distance at all: it was compared with itself, not with its checkpoint.
    """
    quantized = sorted((encodings or frozenset()) - _PLAIN)
    named = f"{artifact} ({', '.join(quantized)})" if quantized else artifact
    if not overall.tokens:
        return
    if overall.kl_max == 0 and quantized:
        raise InvalidMeasurement(
            f"invalid measurement: {named} is at zero distance at all {overall.tokens} tokens",
            "the reference must be the checkpoint it was made from, before it was quantized",
        )
    if overall.kl_max == 0:
        yield f"suspicious: zero distance at all {overall.tokens} tokens; is {named} the reference?"
    elif quantized and overall.kl_mean.value * SUSPICIOUS < floor.kl_mean:
        yield (
            f"suspicious: {named} has a mean KLD of {overall.kl_mean.value:.2g}, below the noise "
            f"floor of {floor.kl_mean:.2g}; was the reference made from it?"
        )


def _between(
    first: States,
    i: int,
    second: States,
    j: int,
    chunk: Chunk,
    documents: Sequence[Document],
) -> TokenScores:
    """Document `i` of the first lane against document `j` of the second, both being `chunk`."""
    document = documents[chunk.document]
    expected, found = first.logits(i)[chunk.rows], second.logits(j)[chunk.rows]
    return score(expected, found, chunk.piece(document), chunk.document)
