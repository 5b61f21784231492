"""A report as a file has it, checked key by key before anything is held to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from edgepack.errors import DamagedInput, UsageError

_LISTS: Final = ("document", "tokens", "kl_mean", "flips", "hard_flips", "reference_nll")
_COUNTS: Final = ("document", "tokens", "flips", "hard_flips", "broken")
_LARGEST: Final = 1e15  # beyond it, no count and no distance
_HINT: Final = "name the JSON that an earlier `edgepack validate --json` printed, as it was"


def check_report(report: Mapping[str, Any], name: str) -> None:
    """Raises DamagedInput naming the first key of `report` that is not what a report has there.

    `name` is what the report is called. Raises UsageError for a report of no measurement: that of
    an artifact that its runtime does not take.
    """
    for key in ("reference", "profile", "corpus"):
        if not isinstance(report.get(key), str):
            raise _damaged(name, key, report.get(key), "text")
    for where, gate in _tables(report, "gates", name):
        for key in ("scope", "figure"):
            if not isinstance(gate.get(key), str):
                raise _damaged(name, f"{where}.{key}", gate.get(key), "text")
        if not _is_number(gate.get("limit")):
            raise _damaged(name, f"{where}.limit", gate.get("limit"), "a number")
        _check_interval(gate.get("interval"), f"{where}.interval", name)
    if not report["gates"]:
        raise UsageError(
            f"{name} was never measured: there is nothing to hold another to",
            "use the report of an artifact that ran",
        )
    for where, figures in _tables(report, "by_document", name):
        _check_documents(figures, where, name)


def _tables(
    report: Mapping[str, Any], key: str, name: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The tables in a list, each with its place."""
    found = report.get(key)
    if not isinstance(found, list):
        raise _damaged(name, key, found, "a list")
    for place, table in enumerate(found):
        if not isinstance(table, dict):
            raise _damaged(name, f"{key}[{place}]", table, "a table")
        yield f"{key}[{place}]", table


def _check_interval(interval: object, where: str, name: str) -> None:
    """A bound that the sample could not give is null."""
    if not isinstance(interval, dict):
        raise _damaged(name, where, interval, "a table")
    for key in ("value", "lower", "upper"):
        found = interval.get(key, "nothing")
        if found is not None and not _is_number(found):
            raise _damaged(name, f"{where}.{key}", found, "a number or null")


def _check_documents(figures: Mapping[str, Any], where: str, name: str) -> None:
    """One figure for each document; `broken` is not in the oldest reports."""
    if not isinstance(figures.get("scope"), str):
        raise _damaged(name, f"{where}.scope", figures.get("scope"), "text")
    keys = (*_LISTS, *(("broken",) if figures.get("broken") else ()))
    length = None
    for key in keys:
        values = figures.get(key)
        if not isinstance(values, list):
            raise _damaged(name, f"{where}.{key}", values, "a list")
        length = len(values) if length is None else length
        if len(values) != length:
            required = f"one for each of {length} documents"
            raise _damaged(name, f"{where}.{key}", f"{len(values)} values", required)
        least = 1 if key == "tokens" else 0 if key in _COUNTS else -_LARGEST
        for place, value in enumerate(values):
            whole = key not in _COUNTS or isinstance(value, int)
            if not _is_number(value) or not whole or value < least:
                raise _damaged(name, f"{where}.{key}[{place}]", value, "a number that can be")
    if len(set(figures["document"])) != length:
        raise _damaged(name, f"{where}.document", "one twice", "each document once")


def _is_number(value: object) -> bool:
    """Finite, and no truth value."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -_LARGEST <= value <= _LARGEST


def _damaged(name: str, key: str, found: object, required: str) -> DamagedInput:
    return DamagedInput(f"{name}: {key} is {str(found)[:40]}, not {required}", _HINT)
