"""`Scheme`: a named choice that gives every weight an `Encoding`; each format has its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edgepack.models.decoder import Decoder, Weight
from edgepack.quant.encodings import Encoding


@dataclass(frozen=True, slots=True)
class Assignment:
    """The encoding one weight gets."""

    weight: Weight
    encoding: Encoding

    @property
    def stored_bytes(self) -> int:
        return self.encoding.tensor_bytes(self.weight.shape)


class Scheme(Protocol):
    """A named choice of encodings; `bits` is nominal: what people call it."""

    @property
    def name(self) -> str: ...

    @property
    def bits(self) -> int: ...

    @property
    def summary(self) -> str: ...

    def assign(self, decoder: Decoder) -> tuple[Assignment, ...]:
        """An encoding for every weight that is stored, in the order of `decoder.weights`.

        What only this format stores comes first.
        """
        ...


class Schemes(Protocol):
    """The schemes of one format: a module of this folder."""

    @property
    def FAITHFUL(self) -> tuple[Scheme, ...]:  # noqa: N802  # a module's constant
        """All of them, most faithful first."""
        ...

    @property
    def USUAL(self) -> tuple[Scheme, ...]:  # noqa: N802
        """What people mean by a number of bits, most faithful first."""
        ...

    def native(self, decoder: Decoder) -> tuple[Scheme, ...]:
        """Schemes that store what `decoder` was released quantized in as it was."""
        ...

    @property
    def GROUPS(self) -> tuple[int, ...]:  # noqa: N802
        """How many weights may share a scale; none where blocks have fixed sizes."""
        ...

    def scheme(self, name: str, *, plain: bool = False) -> Scheme:
        """The scheme called `name`; `plain` rounds to nearest instead of searching scales.

        Raises UsageError with the nearest known name.
        """
        ...

    def at(self, bits: int, group: int | None = None, *, plain: bool = False) -> Scheme:
        """The usual scheme of `bits` bits, in groups of `group` weights that share a scale.

        Raises UsageError for what the format does not have.
        """
        ...
