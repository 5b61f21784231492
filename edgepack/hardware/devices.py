"""Device profiles: TOML files that state a device's figures and where each was published.

    closed = true             a phone: no graphics card can be put into it; as Apple's computers,
                              which need not say so
    [cpu]                     optional
    model = "..."
    isa = ["NEON", ...]       names of `isa.NAMES`
    physical_cores = 4
    compute_tflops = 0.3      10**12 operations per second: dense FP16 matrices

    [memory]                  main memory; optional for a graphics card
    total_mib = 8192
    reserved_mib = 1024       kept for the operating system and other programs
    bandwidth_gb_s = 17.1     10**9 bytes per second
    bus_bits = 32             these two, times each other, / 8 are the bandwidth
    gbps = 4.267              per pin; what memory sheets call MT/s, / 1000

    [[accelerators]]          none or more; a second card of a kind is a second table
    name = "..."              exactly as its driver reports it
    vendor = "nvidia"         nvidia, apple, amd, intel
    memory_mib = 24564
    reserved_mib = 512
    bandwidth_gb_s = 1008
    bus_bits = 384
    gbps = 21
    compute_tflops = 330.3    the faster FP16 mode where two are published, without sparsity
    unified = false           true if it works in main memory

    [[npus]]                  none or more, for information
    name = "..."
    tops = 45

A profile's name is its file's name, in lower case and with hyphens for spaces and underscores;
names asked for are read alike. Profiles of the user, in the configuration directory's
`edgepack/devices`, come before those of the same name that ship.
"""

from __future__ import annotations

import re
from importlib.resources.abc import Traversable
from typing import get_args

from edgepack.errors import UsageError, unknown
from edgepack.hardware.isa import NAMES
from edgepack.hardware.machine import (
    UNKNOWN,
    Accelerator,
    Cpu,
    Figure,
    Hardware,
    Npu,
    Vendor,
    figure,
)
from edgepack.profiles import Table, files, read, shipped, text
from edgepack.units import GB, LARGEST_SIZE, MIB

KIND = "devices"

LISTED = "`edgepack profiles list` names them all"

ROUNDING = 0.01
"""How far a sheet's bandwidth may be from its bus times its data rate."""

WIDEST = 2**16
"""Bits of a memory bus: eight stacks of HBM have 8,192."""

_RATE = ("bandwidth_gb_s", "bus_bits", "gbps")


def profiles() -> tuple[str, ...]:
    """Names of the shipped and the user's profiles, sorted."""
    return tuple(sorted(_files()))


def profile(name: str) -> Hardware:
    """The device called `name`.

    Raises UsageError for a name that is not there, with a near match, and for a file that breaks
    the format above, with the key and what it must be.
    """
    return read_profile(*_found(name))


def is_profile(name: str) -> bool:
    """Whether a device is called so."""
    return plain_name(name) in _files()


def profile_text(name: str) -> str:
    """The file of the device called `name`, with its comments, which name the sources.

    Raises UsageError for a name that is not there, and for a file that cannot be read.
    """
    return text(_found(name)[1])


def plain_name(name: str) -> str:
    """`RTX 4090` -> `rtx-4090`: as the files are named."""
    return re.sub(r"[\s_-]+", "-", name.strip()).lower()


def shipped_accelerators(name: str) -> tuple[Accelerator, ...]:
    """The accelerators of exactly this name, in all the profiles that ship."""
    return tuple(
        accelerator
        for device, file in shipped(KIND).items()
        if name in text(file)  # a hundred files are soon read, and slowly parsed
        for accelerator in read_profile(device, file).accelerators
        if accelerator.name == name
    )


def read_profile(name: str, file: Traversable) -> Hardware:
    """The profile in `file`; raises UsageError as `profile` does."""
    top = read(file).expect("closed", "cpu", "memory", "accelerators", "npus")
    memory = top.table("memory").expect("total_mib", "reserved_mib", *_RATE)
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
        disk_free=UNKNOWN,
        npus=tuple(_npu(table) for table in top.tables("npus")),
        # Apple support HT208544: external graphics cards need a Mac with an Intel processor.
        closed=top.flag("closed") or any(a.vendor == "apple" for a in accelerators),
    )


def _cpu(table: Table) -> Cpu:
    table.expect("model", "isa", "physical_cores", "compute_tflops")
    isa = table.texts("isa")
    for name in isa:
        if name not in NAMES:
            raise unknown(f"instruction set in {table.label}:", name, NAMES)
    return Cpu(
        model=figure(table.text("model"), "profile"),
        isa=tuple(name for name in NAMES if name in isa),
        physical_cores=figure(table.count("physical_cores"), "profile"),
        compute=_compute(table),
    )


def _npu(table: Table) -> Npu:
    name = table.expect("name", "tops").text("name")
    if name is None:
        raise UsageError(f"{table.label}: name is missing", "every NPU has one")
    return Npu(name, figure(table.rate("tops"), "profile"))


def _accelerator(table: Table) -> Accelerator:
    table.expect(
        "name", "vendor", "memory_mib", "reserved_mib", *_RATE, "compute_tflops", "unified"
    )
    name, stated = table.text("name"), table.text("vendor")
    if name is None or stated is None:
        raise UsageError(f"{table.label}: name or vendor is missing", "every accelerator has both")
    vendors: tuple[Vendor, ...] = get_args(Vendor)
    vendor = next((v for v in vendors if v == stated), None)
    if vendor is None:
        raise unknown(f"vendor in {table.label}:", stated, vendors)
    memory, free = _sizes(table, "memory_mib")
    return Accelerator(
        name=name,
        vendor=vendor,
        memory=memory,
        free=free,
        bandwidth=_bandwidth(table),
        unified=table.flag("unified"),
        compute=_compute(table),
    )


def _sizes(table: Table, key: str) -> tuple[Figure[int], Figure[int]]:
    """(whole, whole less what is reserved), in bytes."""
    most = LARGEST_SIZE // MIB
    whole, reserved = table.count(key, most), table.count("reserved_mib", most) or 0
    if whole is None:
        return UNKNOWN, UNKNOWN
    if reserved >= whole:
        raise UsageError(
            f"{table.label}: reserved_mib is {reserved}", f"it must be under {key}, {whole}"
        )
    return figure(whole * MIB, "profile"), figure((whole - reserved) * MIB, "profile")


def _bandwidth(table: Table) -> Figure[int]:
    """As stated, or bus times data rate; where all three are given they must agree."""
    rate, bits, gbps = (
        table.rate("bandwidth_gb_s"),
        table.count("bus_bits", WIDEST),
        table.rate("gbps"),
    )
    if bits is not None and gbps is not None:
        product = bits * gbps / 8
        if rate is not None and abs(rate - product) > ROUNDING * product:
            raise UsageError(
                f"{table.label}: bandwidth_gb_s is {rate:g}",
                f"{bits} bits at {gbps:g} Gbps are {product:g} GB/s: correct one of the three",
            )
        rate = product if rate is None else rate
    return figure(None if rate is None else round(rate * GB), "profile")


def _compute(table: Table) -> Figure[int]:
    tflops = table.rate("compute_tflops")
    return figure(None if tflops is None else round(tflops * 10**12), "profile")


def _found(name: str) -> tuple[str, Traversable]:
    """The profile's own name and its file. Raises UsageError with a near match."""
    known = _files()
    plain = plain_name(name)
    if plain not in known:
        raise unknown("device", name, known, LISTED)
    return plain, known[plain]


def _files() -> dict[str, Traversable]:
    """File by plain name; the user's win, however they are spelt."""
    return {plain_name(name): file for name, file in files(KIND).items()}
