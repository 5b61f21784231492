"""`--self-test`: whether the gates trip, on a few documents and without an artifact."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from edgepack import fidelity
from edgepack.errors import (
    EdgepackError,
    FidelityFailed,
    FidelityInconclusive,
    Unsupported,
)
from edgepack.fidelity import Document
from edgepack.fidelity.bootstrap import FEWEST_DOCUMENTS
from edgepack.fidelity.reference import Reference
from edgepack.fidelity.selftest import SelfTest
from edgepack.fidelity.selftest import self_test as try_limits
from edgepack.pipeline.decoders import DecoderScales
from edgepack.pipeline.progress import Report, silent, staged_progress
from edgepack.pipeline.validate import ValidateRequest
from edgepack.pipeline.work import work_on

TOKENS = 3_000  # of which a 99.9th percentile has a bound


def self_test(request: ValidateRequest, report: Report = silent) -> SelfTest:
    """Try every limit of the profile on the checkpoint's own logits.

    Raises Unsupported for a model that is no decoder, and whatever opening it raises.
    """
    limits = fidelity.profile(request.profile)
    scales = work_on(request.reference).scales(request.corpus)
    if not isinstance(scales, DecoderScales):
        raise Unsupported(
            f"{request.reference} is no decoder, and its gates have no self-test",
            "validate an artifact of it",
        )
    documents = few_documents(scales.corpus.documents)
    reference = Reference(
        scales.checkpoint,
        [document.ids for document in documents],
        staged_progress(report, "reference"),
    )
    return try_limits(reference.logits, documents, limits, scales.checkpoint.name)


def few_documents(documents: Sequence[Document]) -> tuple[Document, ...]:
    """The first that have enough tokens between them, and every span enough documents."""
    taken: list[Document] = []
    tokens, seen = 0, Counter[str]()
    common = Counter(span for document in documents for span in set(document.spans[1:]))
    for document in documents:
        spans = set(document.spans[1:])
        short = any(seen[span] < min(FEWEST_DOCUMENTS, common[span]) for span in spans)
        if tokens < TOKENS or short:
            taken.append(document)
            tokens += len(document.ids) - 1
            seen.update(spans)
    return tuple(taken)


def self_test_error(found: SelfTest) -> EdgepackError | None:
    """What a self-test that is not whole stands for."""
    dull = found.of("does not trip", "trips below")
    if dull:
        first = dull[0]
        return FidelityFailed(
            f"{len(dull)} of {len(found.trials)} gates do not work, first {first.figure} of "
            f"{first.scope}: it {first.state}",
            "do not rely on verdicts of this profile",
        )
    untested = found.of("untested")
    if untested:
        first = untested[0]
        return FidelityInconclusive(
            f"{len(untested)} of {len(found.trials)} gates could not be tried, first "
            f"{first.figure} of {first.scope}: {first.damage}",
            "name a corpus that has more of it: --corpus FILE",
        )
    return None
