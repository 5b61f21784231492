"""Bytes, counts and rates as people write and read them."""

from __future__ import annotations

import re
from math import inf

from edgepack.errors import UsageError

KIB, MIB, GIB = 1024, 1024**2, 1024**3
GB = 10**9
LARGEST_SIZE = 2**63

_RATES = {"M": 10**6, "G": GB, "T": 10**12}
_SUFFIX = {"": 1, "K": KIB, "M": MIB, "G": GIB, "T": 1024 * GIB}


def format_bytes(count: int) -> str:
    """`6_643_712` -> `6.3 MiB`."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def parse_bytes(text: str) -> int:
    """`24G` -> 24 GiB in bytes; K, M, G, T are powers of 1024, a bare number is bytes.

    Raises UsageError for anything else, and for more than 64 bits can address.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    # a float is infinite where an integer of so many digits would be refused
    size = float(match[1]) * _SUFFIX[match[2].upper()] if match else inf
    if size >= LARGEST_SIZE:
        raise UsageError(f"{text[:32]!r} is not a size", "write a number with K, M, G or T: 24G")
    return int(size)


def format_count(count: int) -> str:
    """`3_236_864` -> `3.2M`."""
    for limit, suffix in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        if count >= limit:
            return f"{count / limit:.1f}{suffix}"
    return str(count)


def format_rate(bytes_per_second: float) -> str:
    """Bytes per second -> `448.0 GB/s`; bandwidth is counted in powers of ten."""
    return f"{bytes_per_second / GB:.1f} GB/s"


def parse_rate(text: str) -> int:
    """`936.2G` or `936.2 GB/s` -> bytes per second; M, G, T are powers of 1000.

    Raises UsageError for anything else, a number without its unit and bits (Gb/s, Gbps) included:
    either is more likely to be meant otherwise.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([MGTmgt])(?:B(?:/s)?)?", text.strip())
    rate = float(match[1]) * _RATES[match[2].upper()] if match else 0.0
    if not 1 <= rate < LARGEST_SIZE:
        raise UsageError(
            f"{text[:32]!r} is not a bandwidth", "write gigabytes a second: 1000G, or 936.2GB/s"
        )
    return round(rate)
