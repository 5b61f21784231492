"""What `--device` may say: one profile, or several that make up one machine.

    rtx-4090                      a device by its name
    2x rtx-4090                   two cards of a kind
    rtx-4090 + rtx-3090           two cards
    cpu-32gb-ddr5 + 2x rtx-3090   two cards in a computer

A machine has at most one computer, which is a profile that states main memory. Without one, the
model has only the cards.
"""

from __future__ import annotations

import re

from edgepack.errors import UsageError
from edgepack.hardware.devices import plain_name, profile, profiles
from edgepack.hardware.machine import UNKNOWN, Accelerator, Cpu, Hardware, figure

MOST = 64
"""Cards of a kind in one machine: more than any board has slots for."""

_COUNTED = re.compile(r"(\d+)\s*[x×]\s*(\S.*)", re.IGNORECASE | re.DOTALL)


def assemble(text: str) -> Hardware:
    """The machine that `text` describes.

    Raises UsageError for an unknown device, with a near match, for a count without meaning, for
    more than one computer, and for cards in one that is closed.
    """
    if plain_name(text) in profiles():
        return profile(text)
    parts = [device for term in text.split("+") for device in _devices(term.strip(), text)]
    if len(parts) == 1:
        return parts[0]
    computers = [part for part in parts if not _is_card(part)]
    if len(computers) > 1:
        names = " and ".join(part.name for part in computers)
        raise UsageError(
            f"{text!r} is more than one computer: {names}",
            "a machine is one computer, and any number of graphics cards",
        )
    if computers and computers[0].closed:
        raise UsageError(
            f"{text!r}: no graphics card can be put into {computers[0].name}",
            "name it alone, or another computer",
        )
    return _machine(computers[0] if computers else None, parts)


def is_assembled(text: str) -> bool:
    """Whether `text` asks for a count, or for several devices."""
    return plain_name(text) not in profiles() and (
        "+" in text or _COUNTED.fullmatch(text.strip()) is not None
    )


def _devices(term: str, text: str) -> list[Hardware]:
    """`2x rtx-4090` -> the card twice."""
    counted = _COUNTED.fullmatch(term)
    if counted is None or plain_name(term) in profiles():
        if not term:
            raise UsageError(
                f"{text!r} has a + without a device beside it", "write: rtx-4090 + rtx-3090"
            )
        return [profile(term)]
    # a count of thousands of digits is too long for int
    if len(counted[1]) > len(str(MOST)) or not 1 <= int(counted[1]) <= MOST:
        raise UsageError(
            f"{term[:32]!r}: a machine has 1 to {MOST} of a card", "write: 2x rtx-4090"
        )
    return [profile(counted[2])] * int(counted[1])


def _machine(computer: Hardware | None, parts: list[Hardware]) -> Hardware:
    """`parts` in one machine, the computer's own figures being its host's."""
    accelerators: tuple[Accelerator, ...] = tuple(a for part in parts for a in part.accelerators)
    return Hardware(
        name=_name(parts),
        cpu=computer.cpu if computer else Cpu(figure(None, "unknown"), (), UNKNOWN),
        memory=computer.memory if computer else UNKNOWN,
        available=computer.available if computer else UNKNOWN,
        bandwidth=computer.bandwidth if computer else UNKNOWN,
        accelerators=accelerators,
        unified_memory=any(a.unified for a in accelerators),
        disk_free=UNKNOWN,
        npus=tuple(npu for part in parts for npu in part.npus),
    )


def _name(parts: list[Hardware]) -> str:
    """`2x rtx-4090 + rtx-3090`: each device once, in the order given."""
    counts: dict[str, int] = {}
    for part in parts:
        counts[part.name] = counts.get(part.name, 0) + 1
    return " + ".join(f"{n}x {name}" if n > 1 else name for name, n in counts.items())


def _is_card(device: Hardware) -> bool:
    return device.memory.value is None
