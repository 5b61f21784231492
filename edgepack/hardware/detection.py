"""`detect`: this machine as `Hardware`."""

from __future__ import annotations

import shutil
from pathlib import Path

from edgepack.hardware.accelerators import read_accelerators
from edgepack.hardware.bandwidth import measured_bandwidth
from edgepack.hardware.cpu import read_cpu
from edgepack.hardware.host import Host
from edgepack.hardware.machine import Figure, Hardware, figure
from edgepack.hardware.memory import main_memory
from edgepack.hardware.sheets import with_sheet_figures

BUSY = (
    "the bandwidth was measured while the machine was busy, and may be higher; "
    "--bandwidth states it"
)


def detect(
    *, measure_bandwidth: bool = True, path: Path | None = None, host: Host | None = None
) -> Hardware:
    """This machine. Never fails: what cannot be found out is a figure of unknown origin.

    `path` is where free disk space is asked for, the current directory if None; it need not exist
    yet. Without `measure_bandwidth` main memory's is unknown, and a tenth of a second is saved.
    """
    host = host or Host()
    cpu = read_cpu(host)
    memory, available = main_memory(host)
    bandwidth: Figure[int] = Figure(None, "unknown")
    if measure_bandwidth:
        bandwidth = measured_bandwidth(host, cpu.physical_cores.value or 1, available.value)
    busy = bandwidth.value is not None and host.load() > 1
    accelerators = tuple(with_sheet_figures(a) for a in read_accelerators(host))
    # An Apple chip is processor and accelerator under one name: say it once.
    names = dict.fromkeys([cpu.model.value or "unknown CPU", *(a.name for a in accelerators)])
    return Hardware(
        name=" + ".join(names),
        cpu=cpu,
        memory=memory,
        available=available,
        bandwidth=bandwidth,
        accelerators=accelerators,
        unified_memory=any(a.unified for a in accelerators),
        disk_free=_disk_free(path or Path()),
        notes=(BUSY,) if busy else (),
    )


def _disk_free(path: Path) -> Figure[int]:
    """Free bytes where `path` is, or would be made."""
    for place in (path.absolute(), *path.absolute().parents):
        try:
            return figure(shutil.disk_usage(place).free, "probed")
        except FileNotFoundError:
            continue
        except OSError:
            break
    return Figure(None, "unknown")
