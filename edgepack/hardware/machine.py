"""The nouns: `Hardware`, its `Cpu` and `Accelerator`s, and where each `Figure` came from.

Memory is in bytes, bandwidth in bytes per second, compute in operations per second: dense FP16
matrix arithmetic, a multiplication and an addition being two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Generic, Literal, TypeVar

from edgepack.errors import UsageError

T = TypeVar("T")

Origin = Literal["probed", "measured", "profile", "unknown"]
Vendor = Literal["nvidia", "apple", "amd", "intel"]


@dataclass(frozen=True, slots=True)
class Figure(Generic[T]):
    """A value and where it came from: asked of the system, measured, read in a profile.

    `unknown` means that nobody stated it. A value beside `unknown` is a documented assumption: fit
    to be reckoned with, never to be shown as a fact.
    """

    value: T | None
    origin: Origin


def figure(value: T | None, origin: Origin) -> Figure[T]:
    """`value` with its origin, or an unknown figure where nothing was found."""
    return Figure(value, "unknown" if value is None else origin)


UNKNOWN: Figure[int] = Figure(None, "unknown")


@dataclass(frozen=True, slots=True)
class Cpu:
    """`isa` holds names of `isa.NAMES`; `physical_cores` are those this process may use."""

    model: Figure[str]
    isa: tuple[str, ...]
    physical_cores: Figure[int]
    compute: Figure[int] = UNKNOWN


@dataclass(frozen=True, slots=True)
class Accelerator:
    """A GPU. `memory` is what a model may ever use, `free` what it may use now.

    `unified` accelerators work in the host's memory. `driver` is free text, empty if unasked.
    """

    name: str
    vendor: Vendor
    memory: Figure[int]
    free: Figure[int]
    bandwidth: Figure[int]
    unified: bool
    driver: str = ""
    compute: Figure[int] = UNKNOWN

    @property
    def usable(self) -> Figure[int]:
        """The bytes a model may occupy: what is free if that is known, else the whole."""
        return self.memory if self.free.value is None else self.free


@dataclass(frozen=True, slots=True)
class Npu:
    """A neural processor, for information: no runtime here puts a model on it, and it has no
    memory of its own. `tops` is as its vendor counts, mostly INT8."""

    name: str
    tops: Figure[float]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model can run: `memory` is what it may occupy there, `bandwidth` that memory's,
    `compute` that of the processor that works there."""

    name: str
    memory: Figure[int]
    bandwidth: Figure[int]
    compute: Figure[int] = UNKNOWN


@dataclass(frozen=True, slots=True)
class Hardware:
    """One device. `memory` and `available` are the host's; a container's limit is the truth.

    `accelerators` holds each card of a kind: two of them are two entries. One that is `closed`
    takes no graphics card. `notes` say what to think of its figures.
    """

    name: str
    cpu: Cpu
    memory: Figure[int]
    available: Figure[int]
    bandwidth: Figure[int]
    accelerators: tuple[Accelerator, ...]
    unified_memory: bool
    disk_free: Figure[int]
    npus: tuple[Npu, ...] = ()
    closed: bool = False
    notes: tuple[str, ...] = ()

    @property
    def accelerator(self) -> Accelerator | None:
        """The accelerator with most usable memory, or None for the CPU.

        One that cannot say how much it has (an integrated GPU) leaves the model in host memory.
        """
        known = (a for a in self.accelerators if a.usable.value is not None)
        return max(known, key=lambda a: a.usable.value or 0, default=None)

    @property
    def host(self) -> Place:
        """The processor and its memory."""
        return Place("CPU", self.available, self.bandwidth, self.cpu.compute)

    @property
    def cards(self) -> tuple[Place, ...]:
        """Accelerators that have memory of their own, and say how much: the fastest first."""
        own = (a for a in self.accelerators if not a.unified and a.usable.value is not None)
        places = (Place(a.name, a.usable, a.bandwidth, a.compute) for a in own)
        return tuple(sorted(places, key=_speed_and_size, reverse=True))

    @property
    def places(self) -> tuple[Place, ...]:
        """Where a model can run, best first; none where no size is known.

        The CPU comes after an accelerator, and only where it has more memory. A unified
        accelerator whose own bandwidth is unknown reads at least as fast as the host does.
        """
        host, best = self.host, self.accelerator
        if best is None:
            return () if self.available.value is None else (host,)
        shared = best.unified and best.bandwidth.value is None
        rate = self.bandwidth if shared else best.bandwidth
        place = Place(best.name, best.usable, rate, best.compute)
        larger = (self.available.value or 0) > (best.usable.value or 0)
        return (place, host) if larger else (place,)

    def model_memory(self) -> Figure[int]:
        """The bytes a model may occupy on the place where it is better off."""
        return self.places[0].memory if self.places else self.available

    def model_bandwidth(self) -> Figure[int]:
        """Bytes per second of the memory that `model_memory` counts."""
        return self.places[0].bandwidth if self.places else self.bandwidth

    def with_model_memory(self, memory: Figure[int]) -> Hardware:
        """The same device where a model may occupy `memory`: on each card if it has cards, which
        leaves the host as it is, else in the host's memory and what shares it.

        Raises UsageError where the cards are of several kinds.
        """
        changed = self._with_model_place(lambda a: replace(a, memory=memory, free=memory))
        if self.cards:
            return changed
        return replace(changed, memory=memory, available=memory)

    def run_by(self, vendors: tuple[str, ...]) -> Hardware:
        """The same device with the accelerators of `vendors` alone; without any, no place."""
        own = tuple(each for each in self.accelerators if each.vendor in vendors)
        available = self.available if any(each.unified for each in own) else UNKNOWN
        return replace(self, available=available, accelerators=own)

    def without(self, taken: Iterable[tuple[str, int]]) -> Hardware:
        """The same device where bytes of its places are taken: (name of a place, bytes) each.

        Of several cards of one name each entry is another one. What is taken of unified memory
        is taken of all that share it.
        """
        available, accelerators = self.available, list(self.accelerators)
        touched = set[int]()
        for name, size in taken:
            named = (i for i, each in enumerate(accelerators) if each.name == name)
            at = next((i for i in named if i not in touched), None)
            if at is not None:
                touched.add(at)
            if at is None or accelerators[at].unified:
                available = _less(available, size)
                shared = [i for i, each in enumerate(accelerators) if each.unified]
            else:
                shared = [at]
            for index in shared:
                left = _less(accelerators[index].usable, size)
                accelerators[index] = replace(accelerators[index], memory=left, free=left)
        return replace(self, available=available, accelerators=tuple(accelerators))

    def with_model_bandwidth(self, bandwidth: Figure[int]) -> Hardware:
        """The same device where that memory has `bandwidth`. Raises UsageError likewise."""
        changed = self._with_model_place(lambda a: replace(a, bandwidth=bandwidth))
        return changed if self.cards else replace(changed, bandwidth=bandwidth)

    def _with_model_place(self, change: Callable[[Accelerator], Accelerator]) -> Hardware:
        """The same device with its cards changed, else with what shares the host's memory."""
        kinds = dict.fromkeys(card.name for card in self.cards)
        if len(kinds) > 1:
            raise UsageError(
                f"one memory or bandwidth was stated for {' and '.join(kinds)}",
                "it is each card's of one kind: name a device with one of them",
            )
        accelerators = tuple(
            change(a)
            if a.usable.value is not None and (a.name in kinds if kinds else a.unified)
            else a
            for a in self.accelerators
        )
        return replace(self, accelerators=accelerators)


def _less(memory: Figure[int], size: int) -> Figure[int]:
    return memory if memory.value is None else replace(memory, value=max(0, memory.value - size))


def _speed_and_size(place: Place) -> tuple[int, int]:
    return place.bandwidth.value or 0, place.memory.value or 0
