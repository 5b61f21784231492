"""What was asked to be made: formats, and a scheme for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgepack import formats
from edgepack.errors import UsageError, unknown
from edgepack.formats import Format
from edgepack.quant.schemes import Scheme, Schemes

Chosen = Sequence[tuple[Format, Scheme]]

AUTO = "auto"  # the most faithful scheme that fits the device

SchemesOf = Callable[[Format], Schemes]


def own_schemes(form: Format) -> Schemes:
    """Those of decoders."""
    return form.schemes


@dataclass(frozen=True, slots=True)
class Choice:
    """`--to`, and `--scheme NAME` or `--bits N [--group N]`; neither of them means `auto`.

    A name that only some of the formats know gives the others their usual scheme of as many bits.
    `plain` rounds to nearest where a format would search scales.
    """

    to: tuple[str, ...] = ("gguf",)
    scheme: str | None = None
    bits: int | None = None
    group: int | None = None
    plain: bool = False

    def __post_init__(self) -> None:
        if self.bits is not None and self.scheme is not None:
            raise UsageError("--scheme and --bits were both given", "one of them decides")
        if self.group is not None and self.bits is None:
            raise UsageError("--group was given without --bits", "give --bits, 4 for example")

    @property
    def formats(self) -> tuple[Format, ...]:
        """Each once, in the order given. Raises UsageError for an unknown name."""
        return tuple(formats.named(name) for name in dict.fromkeys(map(str.lower, self.to)))

    @property
    def automatic(self) -> bool:
        return self.bits is None and (self.scheme is None or self.scheme.lower() == AUTO)

    def schemes(self, of: SchemesOf = own_schemes) -> Chosen:
        """A scheme for every format, of those that `of` gives it.

        Raises UsageError for a name, bits or group none has.
        """
        if self.automatic:
            raise UsageError("no scheme was given", "give --scheme NAME or --bits N")
        if self.bits is None:
            return self._named(self.scheme or "", of)
        return tuple(
            (form, of(form).at(self.bits, self.group, plain=self.plain)) for form in self.formats
        )

    def _named(self, name: str, of: SchemesOf) -> Chosen:
        found = {form.name: _scheme(of(form), name, self.plain) for form in self.formats}
        bits = next((scheme.bits for scheme in found.values() if scheme), None)
        if bits is None:
            known = (scheme.name for form in self.formats for scheme in of(form).FAITHFUL)
            raise unknown("scheme", name, set(known))
        return tuple(
            (form, found[form.name] or of(form).at(bits, plain=self.plain)) for form in self.formats
        )


def _scheme(schemes: Schemes, name: str, plain: bool) -> Scheme | None:
    try:
        return schemes.scheme(name, plain=plain)
    except UsageError:
        return None
