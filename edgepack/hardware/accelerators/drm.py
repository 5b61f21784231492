"""AMD and Intel GPUs, as Linux shows them under /sys/class/drm.

Memory files: the kernel's Documentation/gpu/amdgpu/driver-misc.rst. Intel's drivers publish no
memory size there, so an Intel GPU is named and its memory left unknown.
"""

from __future__ import annotations

import re

from edgepack.hardware.host import Host
from edgepack.hardware.machine import Accelerator, Figure, figure

_AMD, _INTEL = "0x1002", "0x8086"


def accelerators(host: Host) -> tuple[Accelerator, ...]:
    """One for each AMD or Intel card; connectors (`card0-HDMI-A-1`) are passed over."""
    found = []
    for card in host.entries("sys/class/drm/card[0-9]*"):
        if not re.fullmatch(r"card\d+", card.rpartition("/")[2]):
            continue
        device = f"{card}/device"
        vendor = host.text(f"{device}/vendor")
        if vendor == _AMD:
            found.append(_amd(host, device))
        elif vendor == _INTEL:
            found.append(_intel(host, device))
    return tuple(found)


def _amd(host: Host, device: str) -> Accelerator:
    """An integrated GPU may use its carve-out (VRAM) and the host pages mapped to it (GTT)."""
    # Only a card with memory chips of its own has a maker of them to name.
    unified = host.text(f"{device}/mem_info_vram_vendor") in (None, "", "unknown")
    total = used = 0
    for pool in ("vram", "gtt") if unified else ("vram",):
        total += host.integer(f"{device}/mem_info_{pool}_total") or 0
        used += host.integer(f"{device}/mem_info_{pool}_used") or 0
    return Accelerator(
        name=host.text(f"{device}/product_name") or _name(host, "AMD", device),
        vendor="amd",
        memory=figure(total or None, "probed"),
        free=figure(max(0, total - used) if total else None, "probed"),
        bandwidth=Figure(None, "unknown"),
        unified=unified,
    )


def _intel(host: Host, device: str) -> Accelerator:
    # Intel's integrated GPU has sat at bus 0, device 2 since its first generation.
    integrated = "PCI_SLOT_NAME=0000:00:02.0" in (host.text(f"{device}/uevent") or "")
    return Accelerator(
        name=_name(host, "Intel", device),
        vendor="intel",
        memory=Figure(None, "unknown"),
        free=Figure(None, "unknown"),
        bandwidth=Figure(None, "unknown"),
        unified=integrated,
    )


def _name(host: Host, vendor: str, device: str) -> str:
    return f"{vendor} GPU {host.text(f'{device}/device') or ''}".strip()
