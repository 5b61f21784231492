"""What data sheets say of an accelerator that was found here, by the name its driver gives.

The figures are those of the profiles that ship. A name may stand for several parts: with the memory
size that it comes with, a card's bus (RTX 3060) and an Apple chip's number of cores differ.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from edgepack.hardware.devices import shipped_accelerators
from edgepack.hardware.machine import UNKNOWN, Accelerator, Figure


def with_sheet_figures(accelerator: Accelerator) -> Accelerator:
    """`accelerator` with what its driver did not tell, where a sheet does."""
    if accelerator.bandwidth.value is None:
        accelerator = replace(accelerator, bandwidth=sheet_bandwidth(accelerator))
    if accelerator.compute.value is None:
        accelerator = replace(accelerator, compute=sheet_compute(accelerator))
    return accelerator


def sheet_bandwidth(accelerator: Accelerator) -> Figure[int]:
    """The bandwidth of parts of this name whose size agrees to an eighth, if they have but one.

    A chip with unified memory, whose size is the computer's, may have another size than all of
    them, if all have one bandwidth.
    """
    named = shipped_accelerators(accelerator.name)
    alike = [known for known in named if _same_size(known, accelerator)]
    chips = [known for known in named if known.unified]
    return _agreed(known.bandwidth for known in alike or chips)


def sheet_compute(accelerator: Accelerator) -> Figure[int]:
    """The arithmetic of a card of this name and size.

    Unknown for a chip with unified memory: the same name comes with fewer cores than a profile's.
    """
    if accelerator.unified:
        return UNKNOWN
    named = shipped_accelerators(accelerator.name)
    return _agreed(known.compute for known in named if _same_size(known, accelerator))


def _agreed(figures: Iterable[Figure[int]]) -> Figure[int]:
    distinct = set(figures)
    return distinct.pop() if len(distinct) == 1 else UNKNOWN


def _same_size(one: Accelerator, other: Accelerator) -> bool:
    a, b = one.memory.value, other.memory.value
    return a is not None and b is not None and abs(a - b) <= a // 8
