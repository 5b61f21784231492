"""The verb `fit`: every scheme weighed on one device, from the model's shape alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from edgepack import memory
from edgepack.errors import DoesNotFit, Unsupported, UsageError, unknown
from edgepack.formats import Format
from edgepack.hardware import Hardware
from edgepack.memory import CACHE_TYPES, DEFAULT_CONTEXT, Deployment, Fit, Program
from edgepack.memory.deployment import MICRO_BATCH
from edgepack.memory.law import CacheGroup
from edgepack.memory.placement import DIVIDING
from edgepack.memory.requirements import (
    Requirement,
    context_of,
    meets,
    requirements,
    shortfalls,
)
from edgepack.models import Decoder, features
from edgepack.pipeline.choice import Choice
from edgepack.pipeline.device import Target
from edgepack.pipeline.work import work_on
from edgepack.quant.schemes import Scheme
from edgepack.units import format_bytes

if TYPE_CHECKING:
    from edgepack.pipeline.drafts import Paired

SLOTS: Mapping[Program, int] = MappingProxyType({"llama-server": 4})
"""Sequences that a program serves at once unless it is told; others serve one."""

AUTO_BITS = 8
"""`auto` takes at most so many bits: more buy no measurable fidelity."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What was asked of the runtime; None means its default, or the trained context.

    `kv_type` is of both caches, or `K,V`. `program` is one of llama.cpp's, for GGUF; so are the
    `micro_batch`, in tokens, and what is no longer `flash_attention` or `unified`. The bytes of a
    projector are added to the model's.
    """

    context: int | None = None
    kv_type: str | None = None
    slots: int | None = None
    program: str | None = None
    micro_batch: int | None = None
    flash_attention: bool = True
    unified: bool = True
    projector_bytes: int = 0

    def check_options(self, forms: Sequence[Format]) -> None:
        """Raises UsageError for what llama.cpp alone has where it runs none of `forms`."""
        given = {
            "--program": self.program is not None,
            "--ubatch": self.micro_batch is not None,
            "--no-flash-attention": not self.flash_attention,
            "--no-unified": not self.unified,
        }
        for option in (name for name, said in given.items() if said):
            if not any(form.program in DIVIDING for form in forms):
                raise UsageError(
                    f"{option} is for llama.cpp, which runs nothing that was asked for",
                    "leave it out, or add --to gguf",
                )

    def check(self, form: Format) -> None:
        """Raises UsageError for what no model can be asked of in `form`, before many are."""
        self.check_options([form])
        self._planned(form, 1, *self._kinds("f16"))

    def reaching(self, context: int | None) -> Settings:
        """The same for a context of at least so many tokens: all figures then hold there."""
        return self if context is None else replace(self, context=max(context, self.context or 0))

    def length(self, decoder: Decoder) -> int:
        """Tokens of the context."""
        return self.context or min(DEFAULT_CONTEXT, decoder.context_length)

    def deployment(self, decoder: Decoder, form: Format, scheme: Scheme) -> Deployment:
        """Raises UsageError for a cache type that the format's program cannot keep."""
        possible = form.cache_types(decoder, scheme)
        k, v = self._kinds(possible[0])
        for kind in (k, v):
            if kind not in possible and kind in CACHE_TYPES:
                raise UsageError(
                    f"{form.program} cannot keep a {kind} cache for {scheme.name}",
                    f"it keeps {', '.join(possible)}; leave --kv out, or choose --to gguf",
                )
        return self._planned(form, self.length(decoder), k, v)

    def _planned(self, form: Format, context: int, k: str, v: str) -> Deployment:
        program = self._program(form)
        slots = self.slots or SLOTS.get(program, 1)
        if program not in DIVIDING:
            return Deployment(context, k, v, slots, program=program)
        batch = self.micro_batch or MICRO_BATCH
        return Deployment(context, k, v, slots, self.unified, batch, self.flash_attention, program)

    def _kinds(self, usual: str) -> tuple[str, str]:
        """The types of K and of V; `usual` where none was asked for."""
        if self.kv_type is None:
            return usual, usual
        kinds = [kind.strip() for kind in self.kv_type.lower().split(",")]
        if len(kinds) > 2:
            raise UsageError(f"--kv {self.kv_type} names {len(kinds)} types", "write K,V: q8_0,f16")
        return kinds[0], kinds[-1]

    def _program(self, form: Format) -> Program:
        if self.program is None or form.program not in DIVIDING:
            return form.program
        found = next((program for program in DIVIDING if program == self.program), None)
        if found is None:
            raise unknown("program", self.program, DIVIDING)
        return found


@dataclass(frozen=True, slots=True)
class Weighed:
    """One format's scheme on a device."""

    form: Format
    scheme: Scheme
    deployment: Deployment
    fit: Fit


@dataclass(frozen=True, slots=True)
class FitTable:
    """One model on one device: a row per format and scheme, most faithful first.

    `cache` is the law of its KV cache.
    """

    model: str
    parameters: int
    context_length: int
    hardware: Hardware
    rows: tuple[Weighed, ...]
    asked: tuple[Requirement, ...] = ()
    pairs: tuple[Paired, ...] = ()
    cache: tuple[CacheGroup, ...] = ()

    @property
    def error(self) -> DoesNotFit | None:
        """The error that stands for a table without a row that fits, and meets what is asked.

        With a draft, what fits beside it.
        """
        fitting = [row.fit for row in self.rows if row.fit.fits]
        if not fitting:
            return memory.does_not_fit([row.fit for row in self.rows])
        if self.pairs:
            fitting = [each.pair.target for each in self.pairs if each.pair.fits]
        if not fitting:
            return DoesNotFit(
                "no scheme leaves room for the draft beside it", "take a smaller draft"
            )
        if any(meets(fit, self.asked) for fit in fitting):
            return None
        nearest = min(fitting, key=lambda fit: len(shortfalls(fit, self.asked)))
        return DoesNotFit(
            "no scheme that fits meets what is required",
            f"nearest is {nearest.scheme}: {'; '.join(shortfalls(nearest, self.asked))}",
        )


def fit(
    model: str,
    target: Target,
    settings: Settings,
    choice: Choice,
    *,
    require: str | None = None,
    draft: str | None = None,
) -> FitTable:
    """Weigh `model` (a folder, hub id or catalogue name) under each scheme.

    Of a decoder config.json alone is read, of another model its weights' headers too. Every usual
    scheme of every chosen format, or the one chosen, at a context as long as `require` asks for.
    `draft` is a model to stand beside it. Raises
    whatever opening the models, the device, the settings and the requirements raise; whether
    anything fits is in the table.
    """
    from edgepack.pipeline.drafts import paired

    choice.importance()  # counts no bytes, but what is no matrix is refused
    settings.check_options(choice.formats)
    asked = () if require is None else requirements(require)
    settings = settings.reaching(context_of(asked))
    work = work_on(model)
    hardware = target.hardware()
    rows = work.table(hardware, settings, choice)
    pairs = () if draft is None else paired(model, draft, hardware, settings, choice)
    return FitTable(
        work.name, work.parameters, work.context_length, hardware, rows, asked, pairs, work.cache
    )


def table(
    decoder: Decoder, hardware: Hardware, settings: Settings, choice: Choice
) -> tuple[Weighed, ...]:
    """Every usual scheme of every chosen format, or the one chosen."""
    return tuple(
        weighed(decoder, hardware, settings, form, scheme)
        for form, chosen in choice.picks()
        for scheme in ([chosen] if chosen else _schemes(form, form.schemes.USUAL, decoder, choice))
    )


def _schemes(
    form: Format, known: Sequence[Scheme], decoder: Decoder, choice: Choice
) -> Iterator[Scheme]:
    """The schemes of `known`, and where they belong by their bits, the decoder's native ones."""
    every = sorted((*form.schemes.native(decoder), *known), key=lambda each: -each.bits)
    return map(choice.adapted, every)


def weigh(
    decoder: Decoder, hardware: Hardware, settings: Settings, choice: Choice
) -> tuple[Weighed, ...]:
    """What `pack` will make: for every format the chosen scheme, or the most faithful that fits.

    Raises UsageError for unknown names, DoesNotFit with what would fit.
    """
    rows = tuple(
        weighed(decoder, hardware, settings, form, scheme)
        if scheme
        else most_faithful(decoder, hardware, settings, form, choice)
        for form, scheme in choice.picks()
    )
    for row in rows:
        if not row.fit.fits:
            raise does_not_fit(row.fit, hardware)
    return rows


def most_faithful(
    decoder: Decoder,
    hardware: Hardware,
    settings: Settings,
    form: Format,
    choice: Choice,
    asked: tuple[Requirement, ...] = (),
) -> Weighed:
    """The row of the scheme that `auto` takes, of those that meet what is asked.

    Raises DoesNotFit.
    """
    rows, short = list[Weighed](), list[Weighed]()
    for scheme in _schemes(form, form.schemes.FAITHFUL, decoder, choice):
        if scheme.bits <= AUTO_BITS:
            row = weighed(decoder, hardware, settings, form, scheme)
            if not meets(row.fit, asked):
                short.append(row)
                continue
            if memory.is_first_choice(row.fit):  # of those less faithful none is chosen
                return row
            rows.append(row)
    chosen = memory.choose([row.fit for row in rows or short])
    if not rows:
        raise DoesNotFit(f"{chosen.scheme}: {'; '.join(shortfalls(chosen, asked))}", "ask for less")
    return next(row for row in rows if row.fit is chosen)


def weighed(
    decoder: Decoder, hardware: Hardware, settings: Settings, form: Format, scheme: Scheme
) -> Weighed:
    """One row. Raises UsageError for settings that the format's program refuses."""
    beyond = sorted(features.features(decoder) - form.knows)
    if beyond and not form.made_by_others:
        raise Unsupported(
            f"edgepack does not write {form.name} of this model yet ({', '.join(beyond)})",
            "--to gguf says what files need that others made of it",
        )
    deployment = settings.deployment(decoder, form, scheme)
    found = memory.fit(decoder, scheme, hardware, deployment, settings.projector_bytes)
    if beyond:
        note = f"edgepack does not write this model yet ({', '.join(beyond)}): files of others do"
        found = replace(found, notes=(*found.notes, note))
    return Weighed(form, scheme, deployment, found)


def does_not_fit(fit: Fit, hardware: Hardware) -> DoesNotFit:
    """The error for a scheme that was asked for by name."""
    longest = fit.longest_context
    return DoesNotFit(
        f"{fit.scheme} needs {format_bytes(fit.need)} at a context of "
        f"{fit.context}; {hardware.name} offers {format_bytes(fit.budget)}",
        f"it fits with --ctx {longest}" if longest else "--scheme auto takes what fits",
    )
