"""Instruction sets that matter to a model's arithmetic, under one name on every system."""

from __future__ import annotations

from collections.abc import Iterable

# As Linux (/proc/cpuinfo), macOS (sysctl) and py-cpuinfo spell them, without `_` and `.`.
_SPELLINGS = {
    "AVX2": ("avx2",),
    "AVX-512": ("avx512f",),
    "AVX-512 VNNI": ("avx512vnni",),
    "AVX-512 BF16": ("avx512bf16",),
    "AVX-VNNI": ("avxvnni",),
    "AMX": ("amxtile",),
    "F16C": ("f16c",),
    "FMA": ("fma",),
    "NEON": ("neon", "asimd", "advsimd"),
    "DOTPROD": ("asimddp", "featdotprod"),
    "I8MM": ("i8mm", "feati8mm"),
    "SVE": ("sve",),
    "SVE2": ("sve2",),
}

NAMES = tuple(_SPELLINGS)


def instruction_sets(flags: Iterable[str]) -> tuple[str, ...]:
    """The known names among a system's own `flags`, in the order of `NAMES`."""
    present = {flag.lower().replace("_", "").replace(".", "") for flag in flags}
    return tuple(name for name, spellings in _SPELLINGS.items() if present.intersection(spellings))
