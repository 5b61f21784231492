"""`fit` without a model: what of the catalogue runs on a device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgepack.errors import DoesNotFit
from edgepack.hardware import Hardware
from edgepack.memory import DEFAULT_CONTEXT
from edgepack.memory.fit import FLOOR_BITS
from edgepack.memory.requirements import Requirement, meets, requirements
from edgepack.models import catalogue
from edgepack.models.catalogue import CatalogueEntry
from edgepack.pipeline.choice import Choice
from edgepack.pipeline.device import Target
from edgepack.pipeline.fit import Settings, Weighed, weigh, weighed

SLOW = 5.0  # tokens per second: a little less than people read


@dataclass(frozen=True, slots=True)
class Ranked:
    """A model of the catalogue under the scheme that `auto` takes for it."""

    name: str
    repository: str
    parameters: int
    weighed: Weighed


@dataclass(frozen=True, slots=True)
class Ranking:
    """Models that fit: first those fast enough to read along that keep four bits, then those fast
    enough, then the others; each the largest first."""

    hardware: Hardware
    context: int
    considered: int
    models: tuple[Ranked, ...]
    asked: tuple[Requirement, ...] = ()

    @property
    def error(self) -> DoesNotFit | None:
        if self.models:
            return None
        return DoesNotFit(
            f"no model of the catalogue fits {self.hardware.name}"
            + (" and meets what is required" if self.asked else ""),
            "ask for a shorter context with --ctx, or for less with --require",
        )


def rank(
    target: Target, settings: Settings, choice: Choice, *, require: str | None = None
) -> Ranking:
    """Weigh every model of the catalogue, in the first of the chosen formats.

    Raises whatever the device, the settings and the requirements raise.
    """
    settings.check(choice.formats)
    asked = () if require is None else requirements(require)
    hardware = target.hardware()
    names = catalogue.names()
    found = [
        ranked
        for name in names
        for ranked in _ranked(catalogue.entry(name), hardware, settings, choice)
        if meets(ranked.weighed.fit, asked)
    ]
    found.sort(key=_order, reverse=True)
    context = settings.context or DEFAULT_CONTEXT
    return Ranking(hardware, context, len(names), tuple(found), asked)


def _ranked(
    entry: CatalogueEntry, hardware: Hardware, settings: Settings, choice: Choice
) -> Iterator[Ranked]:
    """Nothing where it does not fit. What is smallest is asked first: most models fail there."""
    form = choice.formats[0]
    if choice.scheme is None and choice.bits is None:
        least = weighed(entry.decoder, hardware, settings, form, form.schemes.FAITHFUL[-1])
        if not least.fit.comfortable:
            return
    try:
        row, *_ = weigh(entry.decoder, hardware, settings, choice)
    except DoesNotFit:
        return
    yield Ranked(entry.name, entry.repository, entry.parameters, row)


def _order(ranked: Ranked) -> tuple[bool, bool, int]:
    fit = ranked.weighed.fit
    readable = fit.decode is None or fit.decode.high >= SLOW
    return readable, readable and fit.bits >= FLOOR_BITS, ranked.parameters
