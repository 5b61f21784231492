"""Tables of what was found beside distances: structure, replies, drafting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgepack.cli import tables

if TYPE_CHECKING:
    from rich.table import Table

    from edgepack.fidelity import FidelityReport
    from edgepack.fidelity.drafts import DraftReport
    from edgepack.fidelity.generation import Conduct, GenerationReport


def found(report: FidelityReport) -> None:
    """What a report has of all three; nothing of what was not asked."""
    if report.structure:
        passed = sum(check.ok is True for check in report.structure)
        tables.write(f"structure: {passed} of {len(report.structure)} checks passed")
    if report.generation:
        tables.write(_replies(report.generation))
    if report.draft:
        draft(report.draft)


def _replies(measured: GenerationReport) -> Table:
    """The artifact between the reference and what rounding alone does to it."""
    headings = (
        f"{measured.prompts} replies", "same text", "same result", "certain", "unclosed", "loops",
        "no JSON", "no answer", "missed", "cut off", "first apart", "length",
    )  # fmt: skip
    rows = [
        _row(name, conduct)
        for name, conduct in (
            ("reference", measured.reference),
            ("artifact", measured.artifact),
            ("bfloat16", measured.control),
        )
    ]
    return tables.table(headings, rows)


def _row(name: str, of: Conduct) -> tuple[str, ...]:
    counts = (
        of.same_text, of.same_result, of.certain, of.unclosed, of.loops, of.broken_calls,
        of.no_answer, of.missed, of.cut_off,
    )  # fmt: skip
    first = "" if of.first_divergence is None else f"{of.first_divergence:g}"
    return name, *map(str, counts), first, f"{of.length_ratio:.2f}"


def draft(measured: DraftReport) -> None:
    """The share taken, then what it gains at each cost; the first cost is that of the weights."""
    gains = [*([measured.weights] if measured.weights else []), *measured.gains]
    rows = [
        (f"{gain.cost:.2f}", f"{gain.drafted}", f"{gain.tokens_per_step:.2f}", f"{gain.times:.2f}x")
        for gain in gains
    ]
    tables.write(
        f"{measured.draft} drafting for {measured.target}: {measured.tokens:,} tokens of "
        f"{measured.documents} documents; taken {measured.alpha.value:.1%} "
        f"({measured.alpha.lower:.1%} to {measured.alpha.upper:.1%}), greedy "
        f"{measured.greedy.value:.1%}",
        tables.table(("cost", "drafted", "tokens a step", "speed-up"), rows, left=0),
    )
