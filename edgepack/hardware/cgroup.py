"""Limits that control groups set: in a container they, not the machine's figures, are the truth.

Version 2 keeps every controller in one tree (`memory.max`, `cpu.max`), version 1 one tree each
(`memory.limit_in_bytes`, `cpu.cfs_quota_us`); a limit on any ancestor binds. Files and meanings:
the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from edgepack.hardware.host import Host

_TREE = "sys/fs/cgroup"


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """Bytes a group may hold, and those it could still take: reclaimable file cache is no load."""

    total: int
    available: int


def memory_limits(host: Host) -> tuple[MemoryLimit, ...]:
    """Every memory limit on this process's group and its ancestors.

    Version 1 writes "none" as a number above any real memory: the caller's `min` disposes of it.
    """
    files = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        2: ("memory.max", "memory.current", "inactive_file"),
    }
    limits = []
    for version, group in _groups(host, "memory"):
        limit_file, usage_file, inactive = files[version]
        limit = host.integer(f"{group}/{limit_file}")
        if limit is None:
            continue
        usage = host.integer(f"{group}/{usage_file}") or 0
        load = max(0, usage - _stat(host, f"{group}/memory.stat", inactive))
        limits.append(MemoryLimit(limit, max(0, limit - load)))
    return tuple(limits)


def cpu_quota(host: Host) -> float | None:
    """Processors' worth of time this process may use, or None where there is no quota."""
    shares = []
    for version, group in _groups(host, "cpu"):
        if version == 2:
            quota, _, period = (host.text(f"{group}/cpu.max") or "").partition(" ")
        else:
            quota = host.text(f"{group}/cpu.cfs_quota_us") or ""
            period = host.text(f"{group}/cpu.cfs_period_us") or ""
        if quota.isdecimal() and period.isdecimal() and int(period) > 0:
            shares.append(int(quota) / int(period))
    return min(shares, default=None)


def _groups(host: Host, controller: str) -> Iterator[tuple[int, str]]:
    """(version, directory) of this process's group and its ancestors, nearest first.

    A container often sees its host's path but only its own tree: directories that are not there
    are left to the reader to find empty, and the tree's root is the container's own group.
    """
    for line in (host.text("proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            version, tree = 2, _TREE
        elif controller in controllers.split(","):
            version, tree = 1, f"{_TREE}/{controller}"
        else:
            continue
        # A leading `..` names a group outside of this namespace: nothing of it is visible.
        parts = [p for p in PurePosixPath(path).parts if p not in ("/", "..")]
        for depth in range(len(parts), -1, -1):
            yield version, "/".join([tree, *parts[:depth]])


def _stat(host: Host, path: str, key: str) -> int:
    for line in (host.text(path) or "").splitlines():
        name, _, value = line.partition(" ")
        if name == key and value.isdecimal():
            return int(value)
    return 0
