"""`FidelityReport`: what was measured, on what, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from math import isfinite
from typing import Any, Final, Self

from edgepack.fidelity import checks
from edgepack.fidelity.breakdown import Bucket, Distillation, Distribution
from edgepack.fidelity.by_document import DocumentFigures
from edgepack.fidelity.drafts import DraftReport
from edgepack.fidelity.floor import Control, NoiseFloor
from edgepack.fidelity.gates import Check, Verdict
from edgepack.fidelity.generation import GenerationReport
from edgepack.fidelity.looks import Looks
from edgepack.fidelity.metrics import Metrics
from edgepack.fidelity.outputs.metrics import OutputMetrics
from edgepack.fidelity.ratchet import Ratchet
from edgepack.fidelity.spans import Span
from edgepack.fidelity.steps import StepReport

SCHEMA_VERSION: Final = 1
# Figures are reported to this many significant digits, so that equal runs give equal bytes.
_DIGITS: Final = 6


@dataclass(frozen=True, slots=True)
class WorstToken:
    """A token where the artifact is far from the reference; `position` indexes its document.

    `context` are the last ids before it. Texts are empty when no tokenizer was given; `kl` is NaN
    where the artifact's logits were not finite.
    """

    document: str
    position: int
    span: Span
    kl: float
    gap: float
    context: tuple[int, ...]
    expected: int
    reference_top: int
    candidate_top: int
    context_text: str = ""
    expected_text: str = ""
    reference_text: str = ""
    candidate_text: str = ""


@dataclass(frozen=True, slots=True)
class FidelityReport:
    """`reasons` led to the verdict, `notes` did not; `powered` says the sample was full-sized.

    Tokens are summed up in `overall` and `spans`; for a model whose outputs are no next tokens
    these are empty, and `outputs` has the figures. `gates` are the figures that were held to
    limits; `invalid` says that nothing could be compared, `more_documents` about how many more
    would decide what is open. `corpus` is the digest of all documents that could be drawn.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    notes: tuple[str, ...] = ()
    powered: bool = False
    profile: str = ""
    reference: str = ""
    runtime: str = ""
    runtime_version: str = ""
    documents: int = 0
    tokens: int = 0
    overall: Metrics | None = None
    spans: tuple[Metrics, ...] = ()
    worst: tuple[WorstToken, ...] = ()
    outputs: OutputMetrics | None = None
    gates: tuple[Check, ...] = ()
    invalid: bool = False
    more_documents: int | None = None
    corpus: str = ""
    seed: int = 0
    by_document: tuple[DocumentFigures, ...] = ()
    ratchet: Ratchet | None = None
    looks: Looks | None = None
    distributions: tuple[Distribution, ...] = ()
    buckets: tuple[Bucket, ...] = ()
    distillation: Distillation | None = None
    steps: StepReport | None = None
    noise_floor: NoiseFloor | None = None
    control: Control | None = None
    structure: tuple[checks.Check, ...] = ()
    generation: GenerationReport | None = None
    draft: DraftReport | None = None

    @classmethod
    def not_run(cls, reason: str) -> Self:
        """The report of a measurement that did not take place."""
        return cls("not_run", (reason,))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON or TOML-like stores; a figure that does not exist is None."""
        return {"schema_version": SCHEMA_VERSION, **_plain_fields(self)}


def _plain_fields(value: Any) -> dict[str, Any]:
    return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if isfinite(value) else None
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if is_dataclass(value):
        return _plain_fields(value)
    return value
