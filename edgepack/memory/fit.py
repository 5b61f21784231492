"""`Fit`: does this decoder, under this scheme, run on this hardware, how long and how fast."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgepack.errors import DoesNotFit, Missing
from edgepack.memory.deployment import CONTEXT_STEP, Deployment
from edgepack.memory.law import Footprint, copied_bytes, footprint, footprint_of
from edgepack.memory.speed import DecodeSpeed, decode_speed
from edgepack.models.decoder import Decoder
from edgepack.units import MIB, format_bytes

if TYPE_CHECKING:
    from edgepack.hardware import Hardware, Place
    from edgepack.quant.schemes import Scheme

RESERVE_SHARE = 0.05
RESERVE_FLOOR = 64 * MIB
FLOOR_BITS = 4
"""The fewest bits taken for speed alone: with fewer the model itself is another."""


@dataclass(frozen=True, slots=True)
class Fit:
    """One scheme on one device: bytes needed against the `budget` a model may occupy.

    `longest_context` is the largest number of tokens, up to the trained context, whose footprint
    is within the budget; 0 if none is. `decode` is None where the bandwidth is unknown. `place` is
    where it runs, `preferred` whether no other place of the device would be better.
    """

    scheme: str
    bits: int
    context: int
    footprint: Footprint
    budget: int
    longest_context: int
    decode: DecodeSpeed | None
    notes: tuple[str, ...] = ()
    place: str = "CPU"
    preferred: bool = True

    @property
    def headroom(self) -> int:
        """Bytes left over; negative if it does not fit."""
        return self.budget - self.footprint.total

    @property
    def fits(self) -> bool:
        return self.headroom >= 0

    @property
    def comfortable(self) -> bool:
        """Fits, and leaves `reserve` of the budget free."""
        return self.headroom >= reserve(self.budget)


def reserve(budget: int) -> int:
    """Bytes of a budget kept free: 5%, at least 64 MiB.

    It covers the error of the memory law (1%, or 16 MiB) and what other programs take between
    planning and loading.
    """
    return max(RESERVE_FLOOR, int(budget * RESERVE_SHARE))


def fit(decoder: Decoder, scheme: Scheme, hardware: Hardware, deployment: Deployment) -> Fit:
    """Weigh one scheme on the first of the device's places that holds it, else on the largest.

    Raises Missing if the device's memory is unknown, UsageError for a cache type that does not
    suit the decoder's heads.
    """
    copies = copied_bytes(decoder, scheme, deployment.program)
    need = footprint(decoder, scheme, deployment)
    place, budget = place_for(hardware, need.total)
    preferred = place == hardware.places[0]
    notes = _notes(decoder, place, deployment)
    if not preferred and need.total <= budget:
        where = hardware.places[0].name
        notes = (f"{scheme.name} runs on the {place.name}: it does not fit {where}", *notes)
    return Fit(
        scheme=scheme.name,
        bits=scheme.bits,
        context=deployment.context,
        footprint=need,
        budget=budget,
        longest_context=longest_context(decoder, need.weights, deployment, budget, copies),
        decode=decode_speed(decoder, scheme, deployment, place.bandwidth),
        notes=notes,
        place=place.name,
        preferred=preferred,
    )


def fit_all(
    decoder: Decoder, hardware: Hardware, deployment: Deployment, schemes: Iterable[Scheme]
) -> tuple[Fit, ...]:
    """A Fit per scheme, in the order given. Raises as `fit` does."""
    return tuple(fit(decoder, scheme, hardware, deployment) for scheme in schemes)


def longest_context(
    decoder: Decoder, weights: int, deployment: Deployment, budget: int, copies: int = 0
) -> int:
    """Tokens of the longest context within `budget` bytes, up to the trained one; 0 if none.

    Whole context steps, as llama.cpp allocates them. Bisection: the law never falls with context.
    """

    def within(context: int) -> bool:
        plan = replace(deployment, context=context)
        return footprint_of(decoder, weights, plan, copies).total <= budget

    if within(decoder.context_length):
        return decoder.context_length
    fitting, failing = 0, -(-decoder.context_length // CONTEXT_STEP)
    while failing - fitting > 1:
        middle = (fitting + failing) // 2
        if within(middle * CONTEXT_STEP):
            fitting = middle
        else:
            failing = middle
    return fitting * CONTEXT_STEP


def choose(fits: Sequence[Fit]) -> Fit:
    """The most faithful comfortable scheme. `fits` go from most to least faithful.

    Four bits on the place that is better beat more bits on another. Raises DoesNotFit, with what
    would fit.
    """
    comfortable = [candidate for candidate in fits if candidate.comfortable]
    for candidate in comfortable:
        if candidate.preferred and candidate.bits >= FLOOR_BITS:
            return candidate
    if comfortable:
        return comfortable[0]
    raise does_not_fit(fits)


def does_not_fit(candidates: Sequence[Fit]) -> DoesNotFit:
    """The error for candidates of which none is comfortable, with what would fit as its hint."""
    smallest = min(candidates, key=lambda candidate: candidate.footprint.total)
    message = (
        f"the smallest scheme, {smallest.scheme}, needs {format_bytes(smallest.footprint.total)} "
        f"at a context of {smallest.context}; the device offers {format_bytes(smallest.budget)}"
    )
    tight = next((candidate for candidate in candidates if candidate.fits), None)
    if tight:
        kept = format_bytes(reserve(tight.budget))
        return DoesNotFit(
            f"{message}, of which {kept} are kept free",
            f"--scheme {tight.scheme} fits with {format_bytes(tight.headroom)} to spare",
        )
    if smallest.longest_context:
        return DoesNotFit(
            message, f"--scheme {smallest.scheme} fits with --ctx {smallest.longest_context}"
        )
    return DoesNotFit(
        message,
        f"even a context of {CONTEXT_STEP} does not fit: "
        "take a smaller model or a device with more memory",
    )


def place_for(hardware: Hardware, need: int) -> tuple[Place, int]:
    """The first place with `need` bytes, else the largest, and the bytes it has."""
    sizes = [(place, place.memory.value or 0) for place in hardware.places]
    if not sizes:
        raise Missing(
            f"the memory of {hardware.name} is unknown", "state it, for example: --memory 16G"
        )
    largest = max(sizes, key=lambda sized: sized[1])
    return next((sized for sized in sizes if need <= sized[1]), largest)


def _notes(decoder: Decoder, place: Place, deployment: Deployment) -> tuple[str, ...]:
    notes = []
    if deployment.context > decoder.context_length:
        notes.append(
            f"a context of {deployment.context} is beyond the {decoder.context_length} tokens "
            "the model was trained on"
        )
    if place.memory.origin == "unknown":
        notes.append("the memory a model may take is an assumption; --memory states it")
    if place.bandwidth.value is None:
        notes.append("memory bandwidth is unknown, so speed is not estimated")
    return tuple(notes)
