"""Which layers of a decoder, and which experts, lie in the memory of which processor.

llama.cpp's ways, in the order in which they are worth trying: the whole on one accelerator; layers
divided among several, by their memory; the experts of the first layers in main memory
(`--n-cpu-moe`); the first layers wholly there (`--n-gpu-layers` counts the others); all of it
there. Embeddings never leave main memory, and every processor that calculates has a compute buffer.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

from edgepack.errors import Missing
from edgepack.memory.deployment import Program
from edgepack.memory.load import Load
from edgepack.units import MIB

if TYPE_CHECKING:
    from edgepack.hardware import Hardware, Place

Kind = Literal["whole", "split", "experts", "layers", "host"]

PREFERRED: Final[tuple[Kind, ...]] = ("whole", "split")
"""Those that leave nothing to a slower processor than the device has."""

DIVIDING: Final[tuple[Program, ...]] = ("llama-cli", "llama-server")
"""Programs that can divide a model among processors."""

ON_HOST: Final[tuple[Program, ...]] = ("onnxruntime-genai", "onnxruntime")
"""Programs that edgepack makes packages for the processor of."""

VENDORS: Final[Mapping[Program, tuple[str, ...]]] = MappingProxyType(
    {"mlx-lm": ("apple", "nvidia")}
)
"""Accelerators that a program which divides nothing has code for; elsewhere it takes the host."""

RESERVE_SHARE: Final = 0.05
RESERVE_FLOOR: Final = 64 * MIB


@dataclass(frozen=True, slots=True)
class Part:
    """What one processor holds: `bytes` of its memory, `layers` whole ones, `read` bytes for each
    token. `experts` counts the layers of which it holds the experts alone."""

    place: Place
    bytes: int
    layers: int
    read: int
    experts: int = 0

    @property
    def headroom(self) -> int:
        """Bytes left over; memory that nobody knows leaves none and wants none."""
        return 0 if self.place.memory.value is None else self.place.memory.value - self.bytes


@dataclass(frozen=True, slots=True)
class Placement:
    """A way to place all of a load. `parts` are the cards', the fastest first, then the host's."""

    kind: Kind
    parts: tuple[Part, ...]

    @property
    def holding(self) -> tuple[Part, ...]:
        """The parts that calculate."""
        return tuple(part for part in self.parts if part.layers or part.experts)

    @property
    def fits(self) -> bool:
        return self.headroom >= 0

    @property
    def headroom(self) -> int:
        """Bytes left where it is tightest."""
        return min(part.headroom for part in self.parts if part.place.memory.value is not None)

    @property
    def name(self) -> str:
        """Where it runs, as people say it."""
        cards = [part for part in self.parts if part.layers and part.place.name != "CPU"]
        counts = Counter(part.place.name for part in cards)
        names = " + ".join(f"{n} x {name}" if n > 1 else name for name, n in counts.items())
        host = self.parts[-1]
        if self.kind == "experts":
            return f"{names}, experts of {host.experts} layers on the CPU"
        if self.kind == "layers":
            layers = sum(part.layers for part in self.parts)
            return f"{names} ({layers - host.layers} of {layers} layers), CPU"
        return names or "CPU"

    @property
    def arguments(self) -> tuple[str, ...]:
        """What llama.cpp has to be told; nothing where it does this by itself.

        It counts the output as one layer more, of the last card.
        """
        *counts, last = (part.layers for part in self.parts[:-1]) if len(self.parts) > 1 else (0,)
        split = ("--tensor-split", ",".join(map(str, (*counts, last + 1)))) if counts else ()
        if self.kind == "experts":
            moved = str(self.parts[-1].experts)
            return ("--n-gpu-layers", "all", "--n-cpu-moe", moved, *split)
        if self.kind == "layers":
            return ("--n-gpu-layers", str(sum(counts) + last + 1), *split)
        return ("--n-gpu-layers", "0") if self.kind == "host" else split


def reserve(budget: int) -> int:
    """Bytes of a budget kept free: 5%, at least 64 MiB.

    It covers the error of the memory law (1%, or 16 MiB) and what other programs take between
    planning and loading.
    """
    return max(RESERVE_FLOOR, int(budget * RESERVE_SHARE))


def place(load: Load, hardware: Hardware, program: Program = "llama-cli") -> Placement:
    """The best placement that fits, else the whole in the largest memory.

    `hardware` has at least one place.
    """
    single = list[Placement]()
    for placement in _placements(load, hardware, program):
        if placement.fits:
            return placement
        if placement.kind in ("whole", "host"):
            single.append(placement)
    return max(single, key=lambda each: each.headroom)


def _placements(load: Load, hardware: Hardware, program: Program) -> Iterator[Placement]:
    cards, host = hardware.cards, hardware.host
    if cards and program in DIVIDING:
        yield from _divisions(load, cards, host)
        return
    places = hardware.places if program in DIVIDING else _single(hardware, program)
    for index, one in enumerate(places):
        yield together(load, one, "host" if index else "whole")


def _single(hardware: Hardware, program: Program) -> tuple[Place, ...]:
    """Where a program that divides nothing can run. Raises Missing where its memory is unknown."""
    vendors = VENDORS.get(program, ())
    places = hardware.run_by(vendors).places if vendors else ()
    if not places and hardware.host.memory.value is not None:
        places = (hardware.host,)
    if not places:
        raise Missing(
            f"{program} runs on the processor of {hardware.name}, whose memory is unknown",
            'name both, as in --device "rtx-4090 + cpu-32gb-ddr5", or choose --to gguf',
        )
    return places


def _divisions(load: Load, cards: Sequence[Place], host: Place) -> Iterator[Placement]:
    for card in cards:
        yield divide(load, [card], host, "whole")
    if len(cards) > 1:
        yield divide(load, cards, host, "split")
    if host.memory.value is None:
        return
    if any(layer.experts for layer in load.layers):
        yield _fewest(load, lambda n: divide(load, cards, host, "experts", experts=n))
    some = _fewest(load, lambda n: divide(load, cards, host, "layers", below=n))
    if some.parts[-1].layers < len(load.layers):
        yield some
    yield together(load, host, "host")


def together(load: Load, place: Place, kind: Kind) -> Placement:
    """All of it in one memory."""
    read = sum(load.read) + sum(load.experts_read) + load.logits
    return Placement(kind, (Part(place, load.total, len(load.layers), read),))


def divide(
    load: Load,
    cards: Sequence[Place],
    host: Place,
    kind: Kind,
    *,
    below: int = 0,
    experts: int = 0,
) -> Placement:
    """The layers from `below` on among the `cards` by their memory, the others on the host, with
    the experts of the first `experts` layers."""
    parts, start = list[Part](), below
    held = [
        layer.total - (layer.experts if index < experts else 0)
        for index, layer in enumerate(load.layers)
    ]
    for card, stop in zip(cards, _bounds(cards, held, below), strict=True):
        size = sum(held[start:stop]) + load.compute
        read = sum(load.read[start:stop]) + sum(load.experts_read[max(start, experts) : stop])
        parts.append(Part(card, size, stop - start, read))
        start = stop
    parts[0] = replace(parts[0], bytes=parts[0].bytes + load.projector)
    last = parts[-1]  # which calculates the logits
    size, read = last.bytes + load.logits, last.read + load.logits
    parts[-1] = replace(last, bytes=size, read=read)
    return Placement(kind, (*parts, _host_part(load, host, below, experts)))


def _host_part(load: Load, host: Place, below: int, experts: int) -> Part:
    size = load.outer.embeddings + load.beside
    size += sum(layer.total for layer in load.layers[:below])
    size += sum(layer.experts for layer in load.layers[below:experts])
    size += load.compute if below or experts else 0
    read = sum(load.read[:below]) + sum(load.experts_read[: max(below, experts)])
    return Part(host, size, below, read, experts=max(0, experts - below))


def _bounds(cards: Sequence[Place], held: Sequence[int], below: int) -> list[int]:
    """Where each card's layers end, its share of all that layers from `below` on hold there being
    its memory's. llama.cpp, left alone, counts layers, whatever each holds."""
    sizes = [card.memory.value or 0 for card in cards]
    filled = list(accumulate(held[below:], initial=0))
    shares = [filled[-1] * part / (sum(sizes) or 1) for part in accumulate(sizes)]
    nearest = [min(range(len(filled)), key=lambda n: abs(filled[n] - share)) for share in shares]
    return [below + count for count in (*nearest[:-1], len(filled) - 1)]


def _fewest(load: Load, divided: Callable[[int], Placement]) -> Placement:
    """The placement that moves fewest layers to the host so that all cards hold the rest, and
    their reserve stays free."""
    depth = len(load.layers)

    def held(count: int) -> bool:
        return all(
            part.headroom >= reserve(part.place.memory.value or 0)
            for part in divided(count).parts[:-1]
        )

    return divided(min(depth, 1 + bisect_left(range(1, depth + 1), True, key=held)))
