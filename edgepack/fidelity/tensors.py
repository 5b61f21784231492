"""How far an artifact's tensors are from its checkpoint's: no runtime, nothing but numbers.

Every tensor is read back from disk, decoded, and compared with the checkpoint's own, in float32,
slab by slab on all cores. A tensor that lies where another should, or whose rows are in another
order, is as far from the checkpoint as no encoding puts it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from math import isfinite, sqrt
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgepack.errors import DamagedInput
from edgepack.formats.protocol import StoredTensor, Weights
from edgepack.formats.slabs import Slab, slabs
from edgepack.formats.stream import in_order
from edgepack.models.safetensors import widened

ROUNDED: Final = {"F32": 2**-23, "F16": 0.01, "BF16": 2**-8}
"""More than rounding to a float of so many bits costs; F16 also has few bits for tiny numbers."""
WORTHLESS: Final = 1.0  # zeros would be as near


class Distance(NamedTuple):
    """Sums over weights: (stored - own)^2, own^2, stored^2, stored x own; the largest |difference|.

    `own` are the checkpoint's.
    """

    error: float = 0.0
    own: float = 0.0
    stored: float = 0.0
    product: float = 0.0
    largest: float = 0.0

    def joined(self, other: Distance) -> Distance:
        """Of the weights of both."""
        error, own, stored, product = (a + b for a, b in zip(self[:4], other[:4], strict=True))
        return Distance(error, own, stored, product, max(self.largest, other.largest))

    @property
    def relative_rmse(self) -> float:
        """Root of the mean squared error, over that of the weights (the stored, if all are 0)."""
        return sqrt(self.error / (self.own or self.stored)) if self.error else 0.0

    @property
    def cosine(self) -> float:
        """Of the angle between the two tensors as vectors; 1 where both are zeros."""
        lengths = sqrt(self.own) * sqrt(self.stored)
        return min(self.product / lengths, 1.0) if lengths else float(self.own == self.stored)


@dataclass(frozen=True, slots=True)
class TensorDistance:
    """One tensor; `misplaced` says that it is not the checkpoint's, however encoded."""

    name: str
    encoding: str
    size: int
    relative_rmse: float
    max_error: float
    cosine: float
    misplaced: bool


@dataclass(frozen=True, slots=True)
class EncodingDistance:
    """All tensors of one encoding together."""

    encoding: str
    tensors: int
    size: int
    relative_rmse: float
    max_error: float
    cosine: float


@dataclass(frozen=True, slots=True)
class TensorReport:
    """Tensors by relative RMSE, worst first; encodings by bytes, largest first."""

    artifact: str
    format: str
    reference: str
    tensors: tuple[TensorDistance, ...]
    encodings: tuple[EncodingDistance, ...]

    @property
    def misplaced(self) -> tuple[str, ...]:
        """Names of the tensors that are not the checkpoint's."""
        return tuple(tensor.name for tensor in self.tensors if tensor.misplaced)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "misplaced": list(self.misplaced)}


def compare(
    artifact: str,
    form: str,
    stored: Iterable[StoredTensor],
    model: Weights,
    progress: Callable[[int, int], None],
) -> TensorReport:
    """Compare every tensor of the format `form` with the one it was made of.

    Raises DamagedInput for one that decodes to something that is not finite, and as reading does.
    """
    total, done = model.decoder.parameters, 0
    found: dict[str, tuple[StoredTensor, Distance]] = {}
    for tensor, slab, distance in in_order(_jobs(stored, model)):
        if not isfinite(distance.error):
            raise DamagedInput(
                f"{artifact}: tensor {tensor.weight.name} decodes to what is not finite",
                "make or fetch the artifact again",
            )
        _, before = found.get(tensor.weight.name, (tensor, Distance()))
        found[tensor.weight.name] = tensor, before.joined(distance)
        done += slab.elements
        progress(done, total)
    tensors = sorted(
        (_tensor_distance(*pair) for pair in found.values()), key=lambda t: -t.relative_rmse
    )
    return TensorReport(
        artifact, form, model.name, tuple(tensors), tuple(_by_encoding(found.values()))
    )


Compared = tuple[StoredTensor, Slab, Distance]


def _jobs(stored: Iterable[StoredTensor], model: Weights) -> Iterator[Callable[[], Compared]]:
    for tensor in stored:
        vector = len(tensor.weight.shape) == 1
        for slab in slabs(model.ref(tensor.weight), 1 if vector else tensor.multiple):
            yield partial(_compared, tensor, slab)


def _compared(tensor: StoredTensor, slab: Slab) -> Compared:
    own = widened(slab.ref.read_stored(slab.start, slab.stop))
    return tensor, slab, distance(tensor.read(slab.start, slab.stop), own)


def distance(stored: NDArray[np.float32], own: NDArray[np.float32]) -> Distance:
    """Of weights as they are stored from the checkpoint's own, of the same shape."""
    a, b = stored.astype(np.float64).reshape(-1), own.astype(np.float64).reshape(-1)
    sums = float(b @ b), float(a @ a), float(a @ b)
    a -= b
    return Distance(float(a @ a), *sums, float(np.abs(a).max(initial=0.0)))


def _tensor_distance(tensor: StoredTensor, of: Distance) -> TensorDistance:
    return TensorDistance(
        tensor.weight.name,
        tensor.encoding,
        tensor.size,
        of.relative_rmse,
        of.largest,
        of.cosine,
        of.relative_rmse >= ROUNDED.get(tensor.encoding, WORTHLESS),
    )


def _by_encoding(found: Iterable[tuple[StoredTensor, Distance]]) -> Iterator[EncodingDistance]:
    groups: dict[str, list[tuple[StoredTensor, Distance]]] = defaultdict(list)
    for tensor, of in found:
        groups[tensor.encoding].append((tensor, of))
    sizes = {name: sum(tensor.size for tensor, _ in held) for name, held in groups.items()}
    for name in sorted(groups, key=lambda name: -sizes[name]):
        of = Distance()
        for _, part in groups[name]:
            of = of.joined(part)
        yield EncodingDistance(
            name, len(groups[name]), sizes[name], of.relative_rmse, of.largest, of.cosine
        )
