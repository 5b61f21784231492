"""`fit` without a model: what of the catalogue runs on a device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgepack.errors import DamagedInput, DoesNotFit, Unsupported, UsageError
from edgepack.formats import Format
from edgepack.hardware import Hardware
from edgepack.memory import DEFAULT_CONTEXT
from edgepack.memory.fit import FLOOR_BITS
from edgepack.memory.requirements import Requirement, context_of, meets, requirements
from edgepack.models import catalogue
from edgepack.models.catalogue import CatalogueEntry
from edgepack.pipeline.choice import Choice
from edgepack.pipeline.device import Target
from edgepack.pipeline.fit import Settings, Weighed, most_faithful, weighed

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
    enough, then the others; each the largest first.

    `left_out` are those that cannot be weighed, each with the reason.
    """

    hardware: Hardware
    context: int
    considered: int
    models: tuple[Ranked, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    asked: tuple[Requirement, ...] = ()

    @property
    def error(self) -> DoesNotFit | None:
        if self.models:
            return None
        return DoesNotFit(
            f"no model of the catalogue fits {self.hardware.name}"
            + (" and meets what is required" if self.asked else ""),
            self.left_out[0][1]
            if len(self.left_out) == self.considered
            else "ask for a shorter context with --ctx, or for less with --require",
        )


def rank(
    target: Target, settings: Settings, choice: Choice, *, require: str | None = None
) -> Ranking:
    """Weigh every model of the catalogue, each under the most faithful scheme that fits and meets
    what is required.

    Raises UsageError for several formats, and whatever the device, the settings and the
    requirements raise.
    """
    asked = requirements(require) if require is not None else ()
    form, *others = choice.formats
    if others:
        raise UsageError("the catalogue is ranked in one format", "give one --to")
    settings = settings.reaching(context_of(asked))
    settings.check(form)
    hardware = target.hardware()
    names = catalogue.names()
    found, left_out = list[Ranked](), list[tuple[str, str]]()
    for name in names:
        try:
            found += _ranked(catalogue.entry(name), hardware, settings, choice, form, asked)
        except (UsageError, Unsupported, DamagedInput) as error:
            left_out.append((name, error.message))
    found.sort(key=_order, reverse=True)
    context = settings.context or DEFAULT_CONTEXT
    return Ranking(hardware, context, len(names), tuple(found), tuple(left_out), asked)


def _ranked(
    entry: CatalogueEntry,
    hardware: Hardware,
    settings: Settings,
    choice: Choice,
    form: Format,
    asked: tuple[Requirement, ...],
) -> Iterator[Ranked]:
    """Nothing where it does not fit. What is smallest is asked first: most models fail there."""
    ((_, named),) = choice.picks()
    least = named or choice.adapted(form.schemes.FAITHFUL[-1])
    row = weighed(entry.decoder, hardware, settings, form, least)
    if not row.fit.comfortable:
        return
    if named is None:
        try:
            row = most_faithful(entry.decoder, hardware, settings, form, choice, asked)
        except DoesNotFit:
            return
    if meets(row.fit, asked):
        yield Ranked(entry.name, entry.repository, entry.parameters, row)


def _order(ranked: Ranked) -> tuple[bool, bool, int]:
    fit = ranked.weighed.fit
    readable = fit.decode is None or fit.decode.high >= SLOW
    return readable, readable and fit.bits >= FLOOR_BITS, ranked.parameters
