"""Accelerators, one file per way of asking. A broken GPU tool is an absent one, not an error."""

from __future__ import annotations

from edgepack.hardware.accelerators import apple, drm, nvidia
from edgepack.hardware.host import Host
from edgepack.hardware.machine import Accelerator


def read_accelerators(host: Host) -> tuple[Accelerator, ...]:
    """Every accelerator that some driver tells about."""
    return (
        *nvidia.accelerators(host),
        *apple.accelerators(host),
        *drm.accelerators(host),
    )
