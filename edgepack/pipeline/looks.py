"""`--until-decided`: an artifact measured on more and more documents until the verdict is out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepack import fidelity
from edgepack.fidelity.by_document import DocumentFigures
from edgepack.fidelity.corpus import corpus_digest
from edgepack.fidelity.looks import Looks, drawn_order, look_confidence, planned_looks
from edgepack.fidelity.metrics import TokenScores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgepack.fidelity import (
        Document,
        FidelityReport,
        Profile,
        ReferenceLogits,
        Runtime,
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """The documents in the order they are looked at, and how many of them at each look.

    `order` are their indices in the corpus, whose digest is `corpus`.
    """

    documents: tuple[Document, ...]
    order: tuple[int, ...]
    looks: tuple[int, ...]
    corpus: str


def plan(documents: Sequence[Document], seed: int) -> Plan:
    """What will be looked at, fixed before anything is measured."""
    order = drawn_order(len(documents), seed)
    drawn = tuple(documents[index] for index in order)
    return Plan(drawn, order, planned_looks(len(documents)), corpus_digest(documents))


@dataclass(slots=True)
class GrowingReference:
    """The reference on as many documents as were looked at: `run` makes it of one look's more."""

    planned: Plan
    run: Callable[[Sequence[Document]], ReferenceLogits]
    _made: dict[int, ReferenceLogits] = field(default_factory=dict)

    def logits(self, document: int) -> NDArray[np.float32]:
        """As ReferenceLogits has it; `document` counts in the order of the plan."""
        look = int(np.searchsorted(self.planned.looks, document, side="right"))
        start = self.planned.looks[look - 1] if look else 0
        if look not in self._made:
            more = self.planned.documents[start : self.planned.looks[look]]
            self._made[look] = self.run(more)
        return self._made[look].logits(document - start)


def validate_until_decided(
    reference: ReferenceLogits,
    runtime: Runtime,
    planned: Plan,
    limits: Profile,
    *,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> FidelityReport:
    """As fidelity.validate, look by look, until the verdict is pass or fail or all was seen.

    `reference` counts documents in the order of the plan; `options` are those of report_on. Raises
    as fidelity.validate does.
    """
    parts: list[TokenScores] = []
    confidence, start = look_confidence(len(planned.looks)), 0
    for size in planned.looks:
        more = planned.documents[start:size]
        found = fidelity.score_documents(_From(reference, start), runtime, more, progress)
        parts.append(replace(found, document=found.document + np.int32(start)))
        start = size
        report = fidelity.report_on(
            TokenScores.concatenate(parts),
            planned.documents[:size],
            limits,
            runtime=(runtime.name, runtime.version),
            confidence=confidence,
            **options,
        )
        if report.verdict != "inconclusive":
            break
    looks = Looks(planned.looks, len(parts), confidence)
    return replace(
        report,
        notes=(*report.notes, str(looks)),
        corpus=planned.corpus,
        by_document=tuple(_numbered(figures, planned) for figures in report.by_document),
        looks=looks,
    )


def _numbered(figures: DocumentFigures, planned: Plan) -> DocumentFigures:
    """Documents by their index in the corpus, as every other report has them."""
    return replace(figures, document=tuple(planned.order[index] for index in figures.document))


@dataclass(frozen=True, slots=True)
class _From:
    """`reference` as seen from the document `start` on."""

    reference: ReferenceLogits
    start: int

    def logits(self, document: int) -> NDArray[np.float32]:
        return self.reference.logits(self.start + document)
