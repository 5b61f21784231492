"""The scales: how far an artifact, in its real runtime, is from the full-precision model.

spans      which part of a conversation a token belongs to
corpus     documents, read from JSONL
chunks     documents longer than a window
metrics    distances token by token, and their sums
breakdown  percentiles; tokens by entropy, confidence and depth; the distillation loss
steps      reasoning step by step
bootstrap  bounds on those sums
limits     profiles: what is limited, and how
gates      checks against limits, the verdict
by_document what every document showed
earlier    a report read again
ratchet    losses against an earlier report
looks      samples that grow until they decide
power      how large a sample decides
report     FidelityReport
runtimes/  what an artifact runs in
tensors    weights themselves, decoded, against the checkpoint's
reference  the checkpoint itself, in float32
rounding   float32 rounded to half the width
states     what a reference computed, kept between runs
floor      the reference against itself, and against half-width arithmetic
standard   what artifacts are measured against: all four
decoding   the same writing text, token by token
checks     what must hold before distances mean anything: structure (special tokens), texts
           (tokenizers), conversations (chat templates), keys (a GGUF's header), blocks (tensors)
replies    what a text that a model wrote is worth; generation compares them
drafts     how often a target takes what a draft proposes
outputs/   the same for models known by their task: outputs in place of the next token
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from edgepack.errors import DamagedInput, UsageError
from edgepack.fidelity.bootstrap import CONFIDENCE
from edgepack.fidelity.breakdown import buckets, check_loss, distillation, distributions
from edgepack.fidelity.by_document import by_document
from edgepack.fidelity.chunks import Chunk, whole_chunks
from edgepack.fidelity.corpus import Document, corpus_digest, read_corpus
from edgepack.fidelity.gates import judge
from edgepack.fidelity.limits import Profile, profile
from edgepack.fidelity.metrics import TokenScores, score, summarize
from edgepack.fidelity.report import FidelityReport, WorstToken
from edgepack.fidelity.runtimes import Runtime
from edgepack.fidelity.spans import SPANS
from edgepack.fidelity.steps import step_report

__all__ = [
    "Document",
    "FidelityReport",
    "Profile",
    "ReferenceLogits",
    "Runtime",
    "profile",
    "read_corpus",
    "report_on",
    "score_documents",
    "validate",
]

_WORST: Final = 20
_CONTEXT_IDS: Final = 16
DEFAULT_TEMPERATURE: Final = 1.0
DEFAULT_ALPHA: Final = 0.5


class ReferenceLogits(Protocol):
    """The full-precision model on the same documents, or on their chunks."""

    def logits(self, chunk: int, /) -> NDArray[np.float32]:
        """Raw logits [T, vocabulary] of the chunk with this index; row i predicts ids[i + 1]."""
        ...


def validate(
    reference: ReferenceLogits,
    runtime: Runtime,
    documents: Sequence[Document],
    limits: Profile,
    *,
    identity: str,
    broken: tuple[str, ...] = (),
    floor: float = 0.0,
    seed: int = 0,
    text_of: Callable[[int], str] | None = None,
    progress: Callable[[int, int], None] | None = None,
    chunks: Sequence[Chunk] | None = None,
    temperature: float = DEFAULT_TEMPERATURE,
    alpha: float = DEFAULT_ALPHA,
) -> FidelityReport:
    """Run `runtime` on every document and judge its distance from `reference`.

    `identity` says what the reference is, `broken` are faults of structure, each of which fails the
    artifact whatever the distances; `floor` is a measured noise floor (mean KLD), `text_of`
    spells token ids in the report, `progress` is told chunks done and in all. `chunks` are what the
    reference was run on, each document whole unless said; `alpha` and `temperature` are those of
    the distillation loss. The logits of one chunk are in memory at a time. Raises UsageError
    without documents, DamagedInput when the two vocabularies differ or the reference's own logits
    are not finite.
    """
    check_loss(alpha, temperature)
    scores = score_documents(
        reference, runtime, documents, progress, chunks, temperature=temperature
    )
    return report_on(
        scores,
        documents,
        limits,
        identity=identity,
        runtime=(runtime.name, runtime.version),
        broken=broken,
        floor=floor,
        seed=seed,
        text_of=text_of,
        temperature=temperature,
        alpha=alpha,
    )


def report_on(
    scores: TokenScores,
    documents: Sequence[Document],
    limits: Profile,
    *,
    identity: str,
    runtime: tuple[str, str],
    broken: tuple[str, ...] = (),
    floor: float = 0.0,
    seed: int = 0,
    text_of: Callable[[int], str] | None = None,
    temperature: float = DEFAULT_TEMPERATURE,
    alpha: float = DEFAULT_ALPHA,
    confidence: float = CONFIDENCE,
    planned: Mapping[str, int] | None = None,
) -> FidelityReport:
    """The verdict on scored tokens, as `validate` gives it; `runtime` is its name and version.

    `temperature` is what they were scored at, `planned` the tokens of a larger sample (see judge).
    """
    spelled = text_of or (lambda _: "")
    overall = summarize(scores, "all", seed=seed, confidence=confidence)
    present = (span for code, span in enumerate(SPANS) if code in scores.span)
    spans = tuple(summarize(scores, span, seed=seed, confidence=confidence) for span in present)
    judgement = judge(
        overall,
        spans,
        limits,
        non_finite=int((~scores.finite).sum()),
        floor=floor,
        confidence=confidence,
        planned=planned,
    )
    return FidelityReport(
        verdict="fail" if broken else judgement.verdict,
        # beside a fault of structure, only what fails too is a reason
        reasons=(
            *broken,
            *(judgement.reasons if judgement.verdict == "fail" or not broken else ()),
        ),
        notes=judgement.notes,
        powered=judgement.powered,
        profile=limits.name,
        reference=identity,
        runtime=runtime[0],
        runtime_version=runtime[1],
        documents=len(documents),
        tokens=len(scores.kl),
        overall=overall,
        spans=spans,
        worst=_worst(scores, documents, spelled),
        gates=judgement.checks,
        corpus=corpus_digest(documents),
        seed=seed,
        by_document=by_document(scores),
        invalid=judgement.invalid,
        more_documents=None if broken else judgement.more_documents,
        distributions=distributions(scores),
        buckets=buckets(scores),
        distillation=distillation(scores, alpha, temperature),
        steps=step_report(scores, documents, spelled),
    )


def score_documents(
    reference: ReferenceLogits,
    runtime: Runtime,
    documents: Sequence[Document],
    progress: Callable[[int, int], None] | None = None,
    chunks: Sequence[Chunk] | None = None,
    *,
    temperature: float = DEFAULT_TEMPERATURE,
) -> TokenScores:
    """Every predicted token of every document, scored once. Raises as `validate` does."""
    if not documents:
        raise UsageError("there are no documents to validate on", "name a corpus: --corpus FILE")
    cut = whole_chunks(documents) if chunks is None else chunks
    parts: list[TokenScores] = []
    for index, chunk in enumerate(cut):
        name = documents[chunk.document].name
        expected, found = _logits(reference, runtime, chunk, index, name)
        piece = chunk.piece(documents[chunk.document])
        part = score(expected, found, piece, chunk.document, temperature=temperature)
        parts.append(replace(part, position=part.position + np.int32(chunk.scored - 1)))
        if progress:
            progress(index + 1, len(cut))
    return TokenScores.concatenate(parts)


def _logits(
    reference: ReferenceLogits, runtime: Runtime, chunk: Chunk, index: int, name: str
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The reference's rows to score and the artifact's."""
    expected = reference.logits(index)
    if expected.shape != (len(chunk.ids), runtime.vocabulary):
        raise DamagedInput(
            f"{name}: the reference has logits {list(expected.shape)}, the artifact "
            f"{[len(chunk.ids), runtime.vocabulary]}",
            "the artifact must have the checkpoint's vocabulary, padding included",
        )
    if not np.isfinite(expected).all():
        hint = "the checkpoint itself is damaged: look for NaN in its tensors"
        raise DamagedInput(f"{name}: the reference's logits are not finite", hint)
    return expected[chunk.rows], runtime.logits(chunk.ids)[chunk.rows]


def _worst(
    scores: TokenScores, documents: Sequence[Document], text_of: Callable[[int], str]
) -> tuple[WorstToken, ...]:
    """The tokens of largest KLD, those without a finite one first."""
    # Ties, and NaN, keep the order of the documents.
    order = np.argsort(-np.nan_to_num(scores.kl, nan=np.inf), kind="stable")[:_WORST]
    worst = scores.select(order)
    found = []
    for i in range(len(order)):
        document, position = documents[worst.document[i]], int(worst.position[i])
        context = document.ids[max(0, position - _CONTEXT_IDS) : position]
        tokens = (document.ids[position], int(worst.reference_top[i]), int(worst.candidate_top[i]))
        found.append(
            WorstToken(
                document.name,
                position,
                document.spans[position],
                float(worst.kl[i]),
                float(worst.gap[i]),
                context,
                *tokens,
                "".join(map(text_of, context)),
                *map(text_of, tokens),
            )
        )
    return tuple(found)
