"""The GPU of an Apple chip: it shares main memory, up to a limit that Metal states."""

from __future__ import annotations

from collections.abc import Callable

from edgepack.hardware.accelerators.metal import recommended_working_set
from edgepack.hardware.host import Host, number, sysctl
from edgepack.hardware.machine import Accelerator, Figure, figure
from edgepack.units import MIB


def accelerators(
    host: Host, working_set: Callable[[], int | None] = recommended_working_set
) -> tuple[Accelerator, ...]:
    """One accelerator on an Apple chip, none on other machines, Intel Macs included.

    The system's default policy is not published. Where Metal does not tell, two thirds of memory
    is assumed, under an unknown origin: the least that was seen (10.67 of 16 GB; larger machines
    give up to 84%).
    """
    if host.platform != "darwin":
        return ()
    known = sysctl(
        host, "machdep.cpu.brand_string", "hw.optional.arm64", "hw.memsize", "iogpu.wired_limit_mb"
    )
    if known.get("hw.optional.arm64") != "1":
        return ()
    # A limit set by hand overrides the default policy; 0 stands for that policy.
    limit = (number(known.get("iogpu.wired_limit_mb")) or 0) * MIB or working_set()
    memory, total = figure(limit, "probed"), number(known.get("hw.memsize"))
    if limit is None and total is not None:
        memory = Figure(total * 2 // 3, "unknown")
    return (
        Accelerator(
            name=known.get("machdep.cpu.brand_string", "Apple GPU"),
            vendor="apple",
            memory=memory,
            free=Figure(None, "unknown"),
            bandwidth=Figure(None, "unknown"),
            unified=True,
        ),
    )
