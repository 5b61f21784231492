"""The nouns: `Hardware`, its `Cpu` and `Accelerator`s, and where each `Figure` came from.

Memory is in bytes, bandwidth in bytes per second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

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


@dataclass(frozen=True, slots=True)
class Cpu:
    """`isa` holds names of `isa.NAMES`; `physical_cores` are those this process may use."""

    model: Figure[str]
    isa: tuple[str, ...]
    physical_cores: Figure[int]


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

    @property
    def usable(self) -> Figure[int]:
        """The bytes a model may occupy: what is free if that is known, else the whole."""
        return self.memory if self.free.value is None else self.free


@dataclass(frozen=True, slots=True)
class Hardware:
    """One device. `memory` and `available` are the host's; a container's limit is the truth."""

    name: str
    cpu: Cpu
    memory: Figure[int]
    available: Figure[int]
    bandwidth: Figure[int]
    accelerators: tuple[Accelerator, ...]
    unified_memory: bool
    disk_free: Figure[int]

    @property
    def accelerator(self) -> Accelerator | None:
        """Where a model would run: the accelerator with most usable memory, or None for the CPU.

        One that cannot say how much it has (an integrated GPU) leaves the model in host memory.
        """
        known = (a for a in self.accelerators if a.usable.value is not None)
        return max(known, key=lambda a: a.usable.value or 0, default=None)

    def model_memory(self) -> Figure[int]:
        """The bytes a model may occupy on the place where it would run."""
        return self.accelerator.usable if self.accelerator else self.available

    def model_bandwidth(self) -> Figure[int]:
        """Bytes per second of the memory that `model_memory` counts.

        A unified accelerator whose own figure is unknown reads at least as fast as the host does.
        """
        place = self.accelerator
        if place is None or (place.unified and place.bandwidth.value is None):
            return self.bandwidth
        return place.bandwidth
