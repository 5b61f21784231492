"""Total and available main memory."""

from __future__ import annotations

import re

from edgepack.hardware.cgroup import memory_limits
from edgepack.hardware.host import Host
from edgepack.hardware.machine import Figure, figure
from edgepack.units import KIB


def main_memory(host: Host) -> tuple[Figure[int], Figure[int]]:
    """(total, available) bytes, each the least of what the system and its control groups say."""
    total, available = _meminfo(host) if host.platform == "linux" else _psutil()
    limits = memory_limits(host) if host.platform == "linux" else ()
    totals = [total, *(limit.total for limit in limits)]
    availables = [available, *(limit.available for limit in limits)]
    return figure(_least(totals), "probed"), figure(_least(availables), "probed")


def _meminfo(host: Host) -> tuple[int | None, int | None]:
    text = host.text("proc/meminfo") or ""
    kib = {name: int(count) for name, count in re.findall(r"^(\w+):\s+(\d+) kB$", text, re.M)}
    total, available = kib.get("MemTotal"), kib.get("MemAvailable")
    return (total and total * KIB), (available and available * KIB)


def _psutil() -> tuple[int | None, int | None]:
    import psutil

    memory = psutil.virtual_memory()
    return memory.total, memory.available


def _least(figures: list[int | None]) -> int | None:
    """The machine's own figure comes first: without it a limit may be a number for "none"."""
    return None if figures[0] is None else min(f for f in figures if f is not None)
