"""What verdicts other than pass mean for the one who asked: an error, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgepack.errors import (
    EdgepackError,
    FidelityFailed,
    FidelityInconclusive,
    InvalidMeasurement,
)
from edgepack.fidelity import FidelityReport

_ALIKE = "nothing is as it should be: is this an artifact of that checkpoint?"


def verdict_error(
    reports: Sequence[FidelityReport], kept: Path | None = None
) -> EdgepackError | None:
    """The error that verdicts other than pass stand for: of several, the worst.

    `kept` is the unpublished folder that the hint names.
    """
    left = f"{kept} is left for inspection; --allow-failed publishes it all the same"
    for bad, kind, hint in (
        ([report for report in reports if report.invalid], InvalidMeasurement, _ALIKE),
        ([report for report in reports if report.verdict == "fail"], FidelityFailed, ""),
        (
            [report for report in reports if report.verdict in ("inconclusive", "not_run")],
            FidelityInconclusive,
            _more(reports),
        ),
    ):
        if bad:
            told = "; ".join(_told(report, named=len(reports) > 1) for report in bad)
            return kind(told, left if kept else hint)
    return None


def _more(reports: Sequence[FidelityReport]) -> str:
    needed = max((report.more_documents or 0 for report in reports), default=0)
    how_many = f"about {needed} more documents" if needed else "more documents"
    return f"measure on {how_many}: --corpus FILE"


def _told(report: FidelityReport, *, named: bool) -> str:
    verdict = "failed" if report.verdict == "fail" else report.verdict
    where = f" in {report.runtime}" if named else ""
    return f"fidelity {verdict}{where} ({report.profile}): {'; '.join(report.reasons[:3])}"
