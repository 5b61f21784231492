"""A report on distances, and what was found beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgepack.fidelity import FidelityReport, Profile
from edgepack.fidelity.checks import Check, faults
from edgepack.fidelity.generation import GenerationReport


def unrun(checks: Sequence[Check], limits: Profile, identity: str) -> FidelityReport:
    """The report on an artifact that its runtime does not take: it failed before any distance."""
    return FidelityReport(
        "fail", faults(checks), profile=limits.name, reference=identity, structure=tuple(checks)
    )


def with_structure(report: FidelityReport, checks: Sequence[Check]) -> FidelityReport:
    """`report`, which knows of the faults already; what could not be compared is a note."""
    told = tuple(str(check) for check in checks if check.ok is None)
    return replace(report, structure=tuple(checks), notes=(*report.notes, *told))


def with_generation(report: FidelityReport, found: GenerationReport) -> FidelityReport:
    """`report`, failed where the replies fail."""
    known = report.reasons if report.verdict == "fail" or not found.reasons else ()
    return replace(
        report,
        verdict="fail" if found.reasons else report.verdict,
        reasons=(*known, *found.reasons),
        notes=(*report.notes, *found.notes),
        generation=found,
    )
