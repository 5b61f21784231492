"""`Fit`: does this decoder, under this scheme, run on this hardware, how long and how fast."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgepack.errors import DoesNotFit, Missing
from edgepack.memory.deployment import CONTEXT_STEP, Deployment
from edgepack.memory.law import Footprint, footprint
from edgepack.memory.load import Assigned, Loads
from edgepack.memory.placement import PREFERRED, Placement, place, reserve
from edgepack.memory.speed import Speed, decode_speed, prefill_speed
from edgepack.models.decoder import Decoder
from edgepack.units import format_bytes

if TYPE_CHECKING:
    from edgepack.hardware import Hardware
    from edgepack.quant.schemes import Scheme

FIDELITY = ((16, "convert"), (6, "near-lossless"), (4, "balanced"), (0, "aggressive"))
"""Fewest bits, and which of fidelity's profiles is meant for them."""

FLOOR_BITS = 4
"""The fewest bits taken for speed alone: with fewer the model itself is another."""


@dataclass(frozen=True, slots=True)
class Fit:
    """One scheme on one device: what it needs, where it lies, how long and how fast it goes.

    `longest_context` is the largest number of tokens, up to the trained context, that fits; 0 if
    none does. `decode` and `prefill` are None where the bandwidth, the compute, is unknown.
    `preferred` says that no placement of the device would be better.
    """

    scheme: str
    bits: int
    context: int
    footprint: Footprint
    placement: Placement
    longest_context: int
    decode: Speed | None
    prefill: Speed | None = None
    notes: tuple[str, ...] = ()
    preferred: bool = True

    @property
    def place(self) -> str:
        """Where it runs."""
        return self.placement.name

    @property
    def need(self) -> int:
        """Bytes of the memories that hold layers or experts."""
        return sum(part.bytes for part in self.placement.holding)

    @property
    def budget(self) -> int:
        """Bytes that a model may occupy there."""
        return sum(part.place.memory.value or 0 for part in self.placement.holding)

    @property
    def headroom(self) -> int:
        """Bytes left over where it is tightest; negative if it does not fit."""
        return self.placement.headroom

    @property
    def fidelity(self) -> str:
        """The profile that such a scheme is usually held to; `validate` tells how it really is."""
        return next(name for bits, name in FIDELITY if self.bits >= bits)

    @property
    def fits(self) -> bool:
        return self.placement.fits

    @property
    def comfortable(self) -> bool:
        """Fits, and leaves `reserve` of every memory free."""
        return all(
            part.headroom >= reserve(part.place.memory.value)
            for part in self.placement.parts
            if part.place.memory.value is not None
        )


def fit(
    decoder: Decoder,
    scheme: Scheme,
    hardware: Hardware,
    deployment: Deployment,
    projector_bytes: int = 0,
) -> Fit:
    """Weigh one scheme on the best placement that holds it, else on the largest memory.

    `projector_bytes` are those of a multimodal model's projector, a file of its own.

    Raises Missing if the device's memory is unknown, UsageError for a cache type that does not
    suit the decoder's heads.
    """
    check_memory(hardware)
    scheme = Assigned.to(decoder, scheme)
    loads = Loads(decoder, scheme, deployment, projector_bytes)

    def placed(context: int) -> Placement:
        load = loads.at(replace(deployment, context=context))
        return place(load, hardware, deployment.program)

    placement = placed(deployment.context)
    preferred = placement.kind in PREFERRED
    return Fit(
        scheme=scheme.name,
        bits=scheme.bits,
        context=deployment.context,
        footprint=footprint(decoder, scheme, deployment, projector_bytes),
        placement=placement,
        longest_context=longest_context(
            decoder.context_length * deployment.streams, lambda context: placed(context).fits
        ),
        decode=decode_speed(placement),
        prefill=prefill_speed(decoder, deployment, placement),
        notes=_notes(decoder, scheme, placement, deployment, hardware),
        preferred=preferred,
    )


def fit_all(
    decoder: Decoder, hardware: Hardware, deployment: Deployment, schemes: Iterable[Scheme]
) -> tuple[Fit, ...]:
    """A Fit per scheme, in the order given. Raises as `fit` does."""
    return tuple(fit(decoder, scheme, hardware, deployment) for scheme in schemes)


def longest_context(limit: int, within: Callable[[int], bool]) -> int:
    """Tokens of the longest context, up to `limit`, that is `within` what there is, or 0.

    Whole context steps, as llama.cpp allocates them. Bisection: where a longer context needs less
    compute, it needs more cache.
    """
    if within(limit):
        return limit
    fitting, failing = 0, -(-limit // CONTEXT_STEP)
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
        if is_first_choice(candidate):
            return candidate
    if comfortable:
        return comfortable[0]
    raise does_not_fit(fits)


def is_first_choice(fit: Fit) -> bool:
    """Whether `choose` takes it unless a more faithful one is as good."""
    return fit.comfortable and fit.preferred and fit.bits >= FLOOR_BITS


def does_not_fit(candidates: Sequence[Fit]) -> DoesNotFit:
    """The error for candidates of which none is comfortable, with what would fit as its hint."""
    smallest = min(candidates, key=lambda candidate: candidate.need)
    message = (
        f"the smallest scheme, {smallest.scheme}, needs {format_bytes(smallest.need)} "
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


def check_memory(hardware: Hardware) -> None:
    """Raises Missing where the device's memory is unknown."""
    if not hardware.places:
        raise Missing(
            f"the memory of {hardware.name} is unknown", "state it, for example: --memory 16G"
        )


def _notes(
    decoder: Decoder,
    scheme: Scheme,
    placement: Placement,
    deployment: Deployment,
    hardware: Hardware,
) -> tuple[str, ...]:
    notes = []
    if placement.fits and placement.kind != "whole":
        told = " ".join(placement.arguments)
        flags = f" (llama.cpp: {told})" if told else ""
        names = [card.name for card in hardware.cards] or [hardware.places[0].name]
        where = " or ".join(dict.fromkeys(names))
        notes.append(
            f"{scheme.name} does not fit {where} alone: it runs on {placement.name}{flags}"
        )
    if deployment.sequence > decoder.context_length:
        notes.append(
            f"a context of {deployment.sequence} is beyond the {decoder.context_length} tokens "
            "the model takes"
        )
    places = [part.place for part in placement.holding]
    if any(place.memory.origin == "unknown" for place in places):
        notes.append("the memory a model may take is an assumption; --memory states it")
    if any(place.bandwidth.value is None for place in places):
        notes.append("memory bandwidth is unknown, so speed is not estimated")
    return tuple(notes)
