"""Which hardware a question is about: this machine, a profile, or figures given by hand."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgepack import hardware
from edgepack.hardware import UNKNOWN, Cpu, Figure, Hardware
from edgepack.units import MIB, format_rate


@dataclass(frozen=True, slots=True)
class Target:
    """`device` is what `hardware.assemble` reads, None for this machine.

    `memory_bytes` overrides what a model may occupy there, and `bandwidth` (bytes per second) how
    fast that memory is; each leaves the rest as it is. Both without a device describe one that
    nobody has named, not this machine.
    """

    device: str | None = None
    memory_bytes: int | None = None
    bandwidth: int | None = None

    def hardware(self, *, measure: bool = True) -> Hardware:
        """The hardware meant. Raises UsageError for a device that is not known.

        `measure=False` skips measuring this machine's bandwidth (0.1 s).
        """
        memory, bandwidth = _stated(self.memory_bytes), _stated(self.bandwidth)
        found = self._found(measure and self.bandwidth is None)
        said = []
        if memory.value is not None:
            found = found.with_model_memory(memory)
            said.append(f"{memory.value // MIB} MiB")
        if bandwidth.value is not None:
            found = found.with_model_bandwidth(bandwidth)
            said.append(format_rate(bandwidth.value))
        return replace(found, name=f"{found.name}, {' and '.join(said)} stated") if said else found

    def _found(self, measure: bool) -> Hardware:
        if self.device is not None:
            return hardware.assemble(self.device)
        if self.memory_bytes is not None and self.bandwidth is not None:
            return UNNAMED
        return hardware.detect(measure_bandwidth=measure)


UNNAMED = Hardware(
    name="a device",
    cpu=Cpu(Figure(None, "unknown"), (), UNKNOWN),
    memory=UNKNOWN,
    available=UNKNOWN,
    bandwidth=UNKNOWN,
    accelerators=(),
    unified_memory=False,
    disk_free=UNKNOWN,
)


def _stated(value: int | None) -> Figure[int]:
    return UNKNOWN if value is None else Figure(value, "profile")
