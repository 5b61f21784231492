"""What is asked of a fit, as `ctx>=8192,tps>=20`: a pipeline's gate before anything is fetched."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from edgepack.errors import UsageError, unknown
from edgepack.memory.fit import Fit
from edgepack.units import GIB, format_bytes, parse_bytes

Compare = Callable[[float, float], bool]

OPERATORS: Final[Mapping[str, Compare]] = MappingProxyType(
    {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
)
FIGURES: Final[Mapping[str, Callable[[Fit], float | None]]] = MappingProxyType(
    {
        "ctx": lambda fit: fit.longest_context,
        "tps": lambda fit: fit.decode.low if fit.decode else None,
        "prefill": lambda fit: fit.prefill.low if fit.prefill else None,
        "memory": lambda fit: fit.footprint.total,
        "headroom": lambda fit: fit.headroom,
        "bits": lambda fit: fit.bits,
    }
)
"""Of a range of speeds the low end: what is required has to hold."""

SIZES: Final = ("memory", "headroom")
_TERM: Final = re.compile(r"\s*([a-z]+)\s*(>=|<=|>|<)\s*([^<>=,]+?)\s*")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term; `value` is in tokens, tokens per second, bytes or bits."""

    figure: str
    operator: str
    value: float

    def unmet(self, fit: Fit) -> str | None:
        """How `fit` falls short, None where it does not. What is unknown meets nothing."""
        found = FIGURES[self.figure](fit)
        if found is not None and OPERATORS[self.operator](found, self.value):
            return None
        told = "unknown" if found is None else _shown(self.figure, found)
        return f"{self.figure} is {told}, {self.operator} {_shown(self.figure, self.value)} wanted"


def requirements(text: str) -> tuple[Requirement, ...]:
    """The terms of `text`, all of which have to hold. Raises UsageError for what is none."""
    return tuple(_requirement(term) for term in text.split(","))


def context_of(asked: tuple[Requirement, ...]) -> int | None:
    """The longest context that is asked for at least, None where none is."""
    lengths = [
        each.value for each in asked if each.figure == "ctx" and each.operator in (">=", ">")
    ]
    return int(max(lengths)) or None if lengths else None


def shortfalls(fit: Fit, asked: tuple[Requirement, ...]) -> tuple[str, ...]:
    """How `fit` falls short of what is asked; empty where it does not."""
    return tuple(told for each in asked if (told := each.unmet(fit)))


def meets(fit: Fit, asked: tuple[Requirement, ...]) -> bool:
    """Whether all of it holds."""
    return not shortfalls(fit, asked)


def _requirement(term: str) -> Requirement:
    match = _TERM.fullmatch(term)
    if match is None:
        raise UsageError(
            f"{term.strip()!r} is not a requirement",
            f"write a figure, a comparison and a number: ctx>=8192; figures: {', '.join(FIGURES)}",
        )
    figure, compare, value = match.groups()
    if figure not in FIGURES:
        raise unknown("figure in --require", figure, FIGURES)
    return Requirement(figure, compare, _number(figure, value))


def _number(figure: str, text: str) -> float:
    if figure in SIZES:
        return parse_bytes(text)
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < GIB:
        raise UsageError(f"--require: {figure} is compared with {text!r}", "give a number: 8192")
    return value


def _shown(figure: str, value: float) -> str:
    return format_bytes(int(value)) if figure in SIZES else f"{value:,.6g}"
