"""Which hardware a question is about: this machine, a profile, or figures given by hand."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgepack import hardware
from edgepack.hardware import Figure, Hardware
from edgepack.units import MIB


@dataclass(frozen=True, slots=True)
class Target:
    """`device` is a profile's name, None for this machine; `memory_bytes` overrides what a model
    may occupy there, and nothing else: where it runs keeps its bandwidth."""

    device: str | None = None
    memory_bytes: int | None = None

    def hardware(self, *, measure: bool = True) -> Hardware:
        """The hardware meant. Raises UsageError for an unknown profile.

        `measure=False` skips measuring this machine's bandwidth (0.1 s).
        """
        found = (
            hardware.profile(self.device)
            if self.device
            else hardware.detect(measure_bandwidth=measure)
        )
        if self.memory_bytes is None:
            return found
        stated = found.with_model_memory(Figure(self.memory_bytes, "profile"))
        return replace(stated, name=f"{found.name}, {self.memory_bytes // MIB} MiB stated")
