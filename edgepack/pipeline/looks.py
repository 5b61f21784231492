"""`--until-decided`: an artifact measured on more and more documents until the verdict is out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepack import fidelity
from edgepack.fidelity import DEFAULT_TEMPERATURE
from edgepack.fidelity.by_document import DocumentFigures
from edgepack.fidelity.corpus import corpus_digest
from edgepack.fidelity.gates import ENOUGH_SPAN_TOKENS
from edgepack.fidelity.looks import Looks, drawn_order, look_confidence, planned_looks
from edgepack.fidelity.metrics import TokenScores

if TYPE_CHECKING:
    from edgepack.fidelity import (
        Document,
        FidelityReport,
        Profile,
        Runtime,
    )
    from edgepack.fidelity.standard import Run


@dataclass(frozen=True, slots=True)
class Plan:
    """The documents in the order they are looked at, and how many of them at each look.

    `order` are their indices in the corpus, whose digest is `corpus`; `tokens` are the predicted
    ones of each span in all of it.
    """

    documents: tuple[Document, ...]
    order: tuple[int, ...]
    looks: tuple[int, ...]
    corpus: str
    tokens: Mapping[str, int]


def plan(documents: Sequence[Document], seed: int) -> Plan:
    """What will be looked at, fixed before anything is measured."""
    order = drawn_order(len(documents), seed)
    drawn = tuple(documents[index] for index in order)
    tokens = Counter[str](span for document in documents for span in document.spans[1:])
    return Plan(drawn, order, planned_looks(len(documents)), corpus_digest(documents), tokens)


@dataclass(slots=True)
class GrowingReference:
    """The reference on as many documents as were looked at: `run` makes it of one look's more."""

    planned: Plan
    run: Callable[[Sequence[Document]], Run]
    _made: dict[int, Run] = field(default_factory=dict)

    def look(self, number: int) -> Run:
        """The reference on what this look sees more, counted from 0."""
        if number not in self._made:
            start = self.planned.looks[number - 1] if number else 0
            more = self.planned.documents[start : self.planned.looks[number]]
            self._made[number] = self.run(more)
        return self._made[number]

    @property
    def runs(self) -> tuple[Run, ...]:
        """All that were made."""
        return tuple(self._made.values())


def validate_until_decided(
    growing: GrowingReference,
    runtime: Runtime,
    limits: Profile,
    *,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> FidelityReport:
    """As fidelity.validate, look by look, until the verdict is pass or fail or all was seen.

    A span that is long enough to be gated in all documents must have decided before a look passes:
    else a look would pass for being early. `options` are those of report_on. Raises as
    fidelity.validate does.
    """
    planned, temperature = growing.planned, options.get("temperature", DEFAULT_TEMPERATURE)
    parts: list[TokenScores] = []
    confidence, start = look_confidence(len(planned.looks)), 0
    for number, size in enumerate(planned.looks):
        more, made = planned.documents[start:size], growing.look(number)
        found = fidelity.score_documents(
            made.reference, runtime, more, progress, made.chunks, temperature=temperature
        )
        parts.append(replace(found, document=found.document + np.int32(start)))
        start = size
        report = fidelity.report_on(
            TokenScores.concatenate(parts),
            planned.documents[:size],
            limits,
            runtime=(runtime.name, runtime.version),
            confidence=confidence,
            planned=planned.tokens,
            **options,
        )
        if report.verdict == "fail" or (report.verdict == "pass" and _saw_all(report, planned)):
            break
    looks = Looks(planned.looks, len(parts), confidence)
    return replace(
        report,
        notes=(*report.notes, str(looks)),
        corpus=planned.corpus,
        by_document=tuple(_numbered(figures, planned) for figures in report.by_document),
        looks=looks,
    )


def _saw_all(report: FidelityReport, planned: Plan) -> bool:
    """Whether every span that will be gated has been seen at all."""
    gated = {span for span, tokens in planned.tokens.items() if tokens >= ENOUGH_SPAN_TOKENS}
    return gated <= {metrics.scope for metrics in report.spans}


def _numbered(figures: DocumentFigures, planned: Plan) -> DocumentFigures:
    """Documents by their index in the corpus, as every other report has them."""
    return replace(figures, document=tuple(planned.order[index] for index in figures.document))
