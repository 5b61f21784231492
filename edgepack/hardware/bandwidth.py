"""Main-memory bandwidth, measured by copying buffers that no cache can hold.

A copy of n bytes counts 2n: n read, n written, as the STREAM benchmark counts it. Decoding mostly
reads, so this is near what a model sees, and a little under what a read-only test would report.
"""

from __future__ import annotations

import re
import time

from edgepack.hardware.host import Host, number, sysctl
from edgepack.hardware.machine import Figure, figure
from edgepack.units import KIB, MIB

SECONDS, LONGEST = 0.1, 0.3
"""How long passes are timed, and how long that may take where `PASSES` take longer."""

PASSES = 3
"""Passes that are timed at least: another program may have slowed down one."""

SMALLEST_BUFFERS = 128 * MIB
# A system that does not tell: more than any desktop part has but one stacked-cache model.
ASSUMED_CACHE = 64 * MIB


def measured_bandwidth(host: Host, threads: int, available: int | None) -> Figure[int]:
    """Bytes per second, or unknown where memory is too scarce for buffers beyond the caches."""
    size = buffer_bytes(last_level_cache(host), available or 0)
    return figure(_copy_rate(size, threads) if size else None, "measured")


def buffer_bytes(cache: int, available: int) -> int:
    """Bytes for both buffers: four caches, within an eighth of what is available; 0 if too few.

    Under two caches, a good part of each buffer would still be cached from the pass before.
    """
    size = min(max(4 * cache, SMALLEST_BUFFERS), available // 8)
    return size if size >= max(2 * cache, 1) else 0


def last_level_cache(host: Host) -> int:
    """Bytes of all last-level caches together; a machine of many dies has one for each."""
    sizes: dict[str, int] = {}
    for cpu in host.entries("sys/devices/system/cpu/cpu[0-9]*/cache"):
        last = max(host.entries(f"{cpu}/index[0-9]"), default="")
        size = re.fullmatch(r"(\d+)K", host.text(f"{last}/size") or "")
        if size:
            sizes[host.text(f"{last}/shared_cpu_list") or cpu] = int(size[1]) * KIB
    if host.platform == "darwin":
        known = sysctl(host, "hw.l2cachesize", "hw.l3cachesize")
        sizes.update((name, number(value) or 0) for name, value in known.items())
    return sum(sizes.values()) or ASSUMED_CACHE


def _copy_rate(size: int, threads: int) -> int:
    """The best of as many passes as fit in `SECONDS`, and of `PASSES` unless those take longer than
    `LONGEST`, after one that touches the pages."""
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    started = time.perf_counter()
    part = size // (2 * threads)
    sources = [np.empty(part, np.uint8) for _ in range(threads)]
    targets = [np.empty(part, np.uint8) for _ in range(threads)]
    passes = list[float]()
    with ThreadPoolExecutor(threads) as pool:
        # Without a write, all source pages are one shared page of zeros, and the caches hold it.
        list(pool.map(lambda source: source.fill(1), sources))
        list(pool.map(np.copyto, targets, sources))
        spent = 0.0
        while not passes or spent < (LONGEST if len(passes) < PASSES else SECONDS):
            before = time.perf_counter()
            list(pool.map(np.copyto, targets, sources))
            after = time.perf_counter()
            passes.append(after - before)
            spent = after - started
    return int(2 * part * threads / min(passes))
