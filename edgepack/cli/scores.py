"""What a report says beside its table: what it is worth, and where reasoning breaks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edgepack.fidelity import FidelityReport
    from edgepack.fidelity.breakdown import Distillation
    from edgepack.fidelity.floor import NoiseFloor
    from edgepack.fidelity.steps import DamagedStep, StepReport

_SHOWN_STEPS: Final = 3
_SHOWN_LETTERS: Final = 60


def score_lines(report: FidelityReport) -> Iterator[str]:
    """A line for each of these that the report has."""
    if report.noise_floor is not None:
        yield _floor(report.noise_floor)
    if report.distillation is not None and report.distillation.temperature != 1:
        yield _loss(report.distillation)
    if report.steps is not None:
        yield _steps(report.steps)
        yield from map(_damaged, report.steps.first_damaged[:_SHOWN_STEPS])


def _floor(floor: NoiseFloor) -> str:
    return (
        f"noise floor: mean KLD {floor.kl_mean:.2g}, the reference in {floor.arithmetic} "
        f"arithmetic on {floor.tokens:,} tokens"
    )


def _loss(loss: Distillation) -> str:
    return (
        f"distillation loss: {loss.loss:.4f} = {loss.alpha:g} x CE {loss.cross_entropy:.4f} + "
        f"{1 - loss.alpha:g} x KL {loss.kl:.2g} at T = {loss.temperature:g}; "
        f"the reference's own {loss.reference_loss:.4f}"
    )


def _steps(steps: StepReport) -> str:
    return (
        f"reasoning: {steps.damaged_traces} of {steps.traces} traces have a damaged step; "
        f"of {steps.steps:,} steps {steps.damaged_steps} are damaged"
    )


def _damaged(step: DamagedStep) -> str:
    text = " ".join(step.text.split())
    shown = text if len(text) <= _SHOWN_LETTERS else f"{text[:_SHOWN_LETTERS]}..."
    return (
        f"  {step.document}, step {step.step + 1} of {step.steps}, at token {step.position}: "
        f"{step.expected_text!r} became {step.candidate_text!r} in {shown!r}"
    )
