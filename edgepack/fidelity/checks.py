"""`Check`: one thing that must hold of an artifact before distances mean anything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

SHOWN: Final = 3  # differences of one kind; of a model that is all wrong there are hundreds


@dataclass(frozen=True, slots=True)
class Check:
    """`ok` is None where nothing could be compared, or where a difference is no fault.

    `detail` says what was compared, or what was found and what was expected.
    """

    name: str
    ok: bool | None
    detail: str

    def __str__(self) -> str:
        return f"{self.name}: {self.detail}"


def faults(checks: Iterable[Check]) -> tuple[str, ...]:
    """Those that failed, each a reason to fail the artifact."""
    return tuple(str(check) for check in checks if check.ok is False)


def verdict_of(name: str, differences: Iterable[str], detail: str) -> Check:
    """Failed with the first of `differences` and how many more there are, else passed."""
    found = list(differences)
    if not found:
        return Check(name, True, detail)
    more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    return Check(name, False, "; ".join([*found[:SHOWN], *more]))
