"""How long work tells the floor above how far it is."""

from __future__ import annotations

from collections.abc import Callable

Report = Callable[[str, int, int], None]  # stage, done, in all


def silent(stage: str, done: int, total: int) -> None:
    """Say nothing."""


def staged_progress(report: Report, stage: str) -> Callable[[int, int], None]:
    """`report` with its stage already named."""
    return lambda done, total: report(stage, done, total)
