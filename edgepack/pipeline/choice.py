"""What was asked to be made: formats, and a scheme for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgepack import formats
from edgepack.errors import UsageError, unknown
from edgepack.formats import Format
from edgepack.formats.importance import Importance
from edgepack.quant.schemes import Scheme, Schemes
from edgepack.quant.schemes.mix import GgufScheme, overridden
from edgepack.quant.schemes.overrides import NONE, Overrides

Chosen = Sequence[tuple[Format, Scheme]]

AUTO = "auto"  # the most faithful scheme that fits the device

Pick = tuple[Format, Scheme | None]  # None: `auto`
SchemesOf = Callable[[Format], Schemes]


def own_schemes(form: Format) -> Schemes:
    """Those of decoders."""
    return form.schemes


@dataclass(frozen=True, slots=True)
class Choice:
    """`--to FORMAT[:SCHEME]`, and `--scheme NAME` or `--bits N [--group N]` for formats without.

    None of them means `auto`. A name that only some of the formats know gives the others their
    usual scheme of as many bits. `group` and `plain` (which rounds to nearest where a format would
    search scales) are for the formats whose weights lie in groups; `overrides` and `imatrix`, the
    path of a matrix of importance, are for GGUF.
    """

    to: tuple[str, ...] = ("gguf",)
    scheme: str | None = None
    bits: int | None = None
    group: int | None = None
    plain: bool = False
    overrides: Overrides = NONE
    imatrix: Path | None = None

    def __post_init__(self) -> None:
        if self.bits is not None and self.scheme is not None:
            raise UsageError("--scheme and --bits were both given", "one of them decides")
        if self.group is not None and self.bits is None:
            raise UsageError("--group was given without --bits", "give --bits, 4 for example")

    @property
    def formats(self) -> tuple[Format, ...]:
        """Each once, in the order given. Raises UsageError for an unknown name."""
        return tuple(self._own_schemes())

    def picks(self, of: SchemesOf = own_schemes) -> tuple[Pick, ...]:
        """A scheme for every format, of those that `of` gives it; None for `auto`.

        Raises UsageError for a name, bits or group that a format has not.
        """
        own = self._own_schemes()
        self._check_groups(tuple(own), of)
        self._check_overrides(tuple(own), of)
        shared = self._shared(tuple(form for form, name in own.items() if not name), of)
        found = (
            (form, self._own(of(form), name) if name else shared[form])
            for form, name in own.items()
        )
        return tuple((form, scheme and self.adapted(scheme)) for form, scheme in found)

    def adapted(self, scheme: Scheme) -> Scheme:
        """`scheme` as it will be under the overrides, and with a matrix of importance."""
        measured = self.imatrix is not None
        if isinstance(scheme, GgufScheme) and (self.overrides or measured):
            return overridden(scheme, self.overrides, measured=measured)
        return scheme

    def importance(self) -> Importance | None:
        """The matrix at `imatrix`. Raises as read_importance does."""
        if self.imatrix is None:
            return None
        from edgepack.formats.gguf.imatrix import read_importance

        return read_importance(self.imatrix)

    def schemes(self, of: SchemesOf = own_schemes) -> Chosen:
        """As `picks`, where none may be `auto`: UsageError."""
        found = []
        for form, scheme in self.picks(of):
            if scheme is None:
                raise UsageError(
                    f"no scheme was given for {form.name}",
                    f"give --scheme NAME, --bits N, or --to {form.name}:NAME",
                )
            found.append((form, scheme))
        return tuple(found)

    def _own_schemes(self) -> dict[Format, str]:
        """Every format, and the scheme named with it, if any."""
        found: dict[str, str] = {}
        for entry in self.to:
            name, _, scheme = entry.partition(":")
            name = name.lower()
            if found.setdefault(name, scheme) != scheme:
                both = " and ".join(each or "no scheme" for each in (found[name], scheme))
                raise UsageError(
                    f"--to {name} was given twice, with {both}",
                    "a package holds one artifact of each format",
                )
        return {formats.named(name): scheme for name, scheme in found.items()}

    def _check_groups(self, chosen: tuple[Format, ...], of: SchemesOf) -> None:
        if any(of(form).GROUPS for form in chosen):
            return
        names = " and ".join(form.name for form in chosen)
        if self.group is not None:
            raise UsageError(
                f"--group {self.group}: the blocks of {names} have fixed sizes", "leave it out"
            )
        if self.plain:
            raise UsageError(f"--plain: {names} has no search that it would spare", "leave it out")

    def _check_overrides(self, chosen: tuple[Format, ...], of: SchemesOf) -> None:
        asked = str(self.overrides) if self.overrides else self.imatrix and "--imatrix"
        if asked and not any(isinstance(of(form).FAITHFUL[0], GgufScheme) for form in chosen):
            names = " and ".join(form.name for form in chosen)
            raise UsageError(f"{asked} is for gguf, and {names} was asked for", "leave it out")

    def _shared(self, chosen: tuple[Format, ...], of: SchemesOf) -> dict[Format, Scheme | None]:
        """What --scheme or --bits means for each format.

        Raises UsageError where it means nothing, for every format has a scheme of its own.
        """
        asked = f"--scheme {self.scheme}" if self.scheme else self.bits and f"--bits {self.bits}"
        if asked and not chosen and asked.lower() != f"--scheme {AUTO}":
            raise UsageError(f"{asked}: every --to names a scheme of its own", "leave one of them")
        if self.bits is not None:
            return {form: self._at(of(form), self.bits) for form in chosen}
        if self.scheme is None or self.scheme.lower() == AUTO or not chosen:
            return dict.fromkeys(chosen)
        known = {form: _scheme(of(form), self.scheme, self.plain) for form in chosen}
        bits = next((scheme.bits for scheme in known.values() if scheme), None)
        if bits is None:
            raise _unknown_scheme(self.scheme, chosen, of)
        return {form: scheme or self._at(of(form), bits) for form, scheme in known.items()}

    def _own(self, schemes: Schemes, name: str) -> Scheme | None:
        return None if name.lower() == AUTO else schemes.scheme(name, plain=self.plain)

    def _at(self, schemes: Schemes, bits: int) -> Scheme:
        group = self.group if schemes.GROUPS else None
        return schemes.at(bits, group, plain=self.plain)


def _scheme(schemes: Schemes, name: str, plain: bool = False) -> Scheme | None:
    try:
        return schemes.scheme(name, plain=plain)
    except UsageError:
        return None


def _unknown_scheme(name: str, chosen: tuple[Format, ...], of: SchemesOf) -> UsageError:
    """Another format's name is told as such; else the nearest of the chosen formats' names."""
    for form in formats.every():
        scheme = _scheme(form.schemes, name)
        if scheme:
            wanted = " or ".join(other.name for other in chosen)
            return UsageError(
                f"{name} is a scheme of {form.name}, not of {wanted}",
                f"--bits {scheme.bits} gives any format its usual scheme of as many bits",
            )
    return unknown("scheme", name, {scheme.name for form in chosen for scheme in of(form).FAITHFUL})
