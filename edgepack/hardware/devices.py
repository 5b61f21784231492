"""Device profiles: TOML files that state a device's figures and where each was published.

    [cpu]                     optional
    model = "..."
    isa = ["NEON", ...]       names of `isa.NAMES`
    physical_cores = 4

    [memory]                  main memory; optional for a graphics card
    total_mib = 8192
    reserved_mib = 1024       kept for the operating system and other programs
    bandwidth_gb_s = 17.1     10**9 bytes per second

    [[accelerators]]          none or more
    name = "..."              exactly as its driver reports it
    vendor = "nvidia"         nvidia, apple, amd, intel
    memory_mib = 24564
    reserved_mib = 512
    bandwidth_gb_s = 1008
    unified = false           true if it works in main memory

A profile's name is its file's name. Profiles of the user, in the configuration directory's
`edgepack/devices`, come before those of the same name that ship.
"""

from __future__ import annotations

from importlib.resources.abc import Traversable
from typing import get_args

from edgepack.errors import UsageError, unknown
from edgepack.hardware.isa import NAMES
from edgepack.hardware.machine import Accelerator, Cpu, Figure, Hardware, Vendor, figure
from edgepack.profiles import Table, files, read, shipped
from edgepack.units import GB, MIB

KIND = "devices"


def profiles() -> tuple[str, ...]:
    """Names of the shipped and the user's profiles, sorted."""
    return tuple(sorted(files(KIND)))


def profile(name: str) -> Hardware:
    """The device called `name`.

    Raises UsageError for a name that is not there, with a near match, and for a file that breaks
    the format above, with the key and what it must be.
    """
    known = files(KIND)
    if name not in known:
        raise unknown("device", name, known)
    return read_profile(name, known[name])


def sheet_bandwidth(accelerator: Accelerator) -> Figure[int]:
    """The bandwidth that a shipped profile states for an accelerator of exactly this name.

    Cards of one name and two memory sizes have two bandwidths (RTX 3060): a card's size must agree
    to an eighth. A chip with unified memory has one, whatever the memory.
    """
    for name, file in shipped(KIND).items():
        for known in read_profile(name, file).accelerators:
            if known.name == accelerator.name and (known.unified or _same_size(known, accelerator)):
                return known.bandwidth
    return Figure(None, "unknown")


def read_profile(name: str, file: Traversable) -> Hardware:
    """The profile in `file`; raises UsageError as `profile` does."""
    top = read(file).expect("cpu", "memory", "accelerators")
    memory = top.table("memory").expect("total_mib", "reserved_mib", "bandwidth_gb_s")
    total, available = _sizes(memory, "total_mib")
    accelerators = tuple(_accelerator(table) for table in top.tables("accelerators"))
    if all(place.value is None for place in (total, *(a.memory for a in accelerators))):
        raise UsageError(
            f"{file}: no memory is stated",
            "give total_mib in [memory], or memory_mib in [[accelerators]]",
        )
    return Hardware(
        name=name,
        cpu=_cpu(top.table("cpu")),
        memory=total,
        available=available,
        bandwidth=_bandwidth(memory),
        accelerators=accelerators,
        unified_memory=any(a.unified for a in accelerators),
        disk_free=Figure(None, "unknown"),
    )


def _cpu(table: Table) -> Cpu:
    table.expect("model", "isa", "physical_cores")
    isa = table.texts("isa")
    for name in isa:
        if name not in NAMES:
            raise unknown(f"instruction set in {table.label}:", name, NAMES)
    return Cpu(
        model=figure(table.text("model"), "profile"),
        isa=tuple(name for name in NAMES if name in isa),
        physical_cores=figure(table.count("physical_cores"), "profile"),
    )


def _accelerator(table: Table) -> Accelerator:
    table.expect("name", "vendor", "memory_mib", "reserved_mib", "bandwidth_gb_s", "unified")
    name, stated = table.text("name"), table.text("vendor")
    if name is None or stated is None:
        raise UsageError(f"{table.label}: name or vendor is missing", "every accelerator has both")
    vendors: tuple[Vendor, ...] = get_args(Vendor)
    vendor = next((v for v in vendors if v == stated), None)
    if vendor is None:
        raise unknown(f"vendor in {table.label}:", stated, vendors)
    memory, free = _sizes(table, "memory_mib")
    return Accelerator(name, vendor, memory, free, _bandwidth(table), table.flag("unified"))


def _sizes(table: Table, key: str) -> tuple[Figure[int], Figure[int]]:
    """(whole, whole less what is reserved), in bytes."""
    whole, reserved = table.count(key), table.count("reserved_mib") or 0
    if whole is None:
        return Figure(None, "unknown"), Figure(None, "unknown")
    if reserved >= whole:
        raise UsageError(
            f"{table.label}: reserved_mib is {reserved}", f"it must be under {key}, {whole}"
        )
    return figure(whole * MIB, "profile"), figure((whole - reserved) * MIB, "profile")


def _bandwidth(table: Table) -> Figure[int]:
    rate = table.rate("bandwidth_gb_s")
    return figure(None if rate is None else round(rate * GB), "profile")


def _same_size(one: Accelerator, other: Accelerator) -> bool:
    a, b = one.memory.value, other.memory.value
    return a is not None and b is not None and abs(a - b) <= a // 8
