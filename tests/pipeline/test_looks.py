"""An artifact measured look by look: the reference runs on no document that is not looked at."""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf

import numpy as np
import pytest

from edgepack.fidelity import Document, profile, validate
from edgepack.fidelity.chunks import whole_chunks
from edgepack.fidelity.limits import Profile, SpanLimits
from edgepack.fidelity.standard import Run
from edgepack.pipeline.looks import GrowingReference, plan, validate_until_decided

VOCABULARY = 24
SPANS = ("prompt",) * 4 + ("answer",) * 28
DOCUMENTS = tuple(
    Document(f"d:{n}", tuple(map(int, row)), SPANS)
    for n, row in enumerate(np.random.default_rng(2).integers(0, VOCABULARY, (200, len(SPANS))))
)


class Exact:
    """Logits by the ids alone; as a reference, of the documents it was made of."""

    name, version, vocabulary = "exact", "1", VOCABULARY

    def __init__(self, documents=(), damage=0.0):
        self.documents, self.damage = documents, damage

    def logits(self, given):
        ids = self.documents[given].ids if isinstance(given, int) else given
        rng = np.random.default_rng(list(ids))
        logits = 3 * rng.standard_normal((len(ids), VOCABULARY))
        return (logits + self.damage * rng.standard_normal(logits.shape)).astype(np.float32)


def decided(damage, limits="balanced", seed=0, documents=DOCUMENTS):
    planned, ran = plan(documents, seed), []

    def run(more):
        ran.append(len(more))
        return Run(Exact(more), whole_chunks(more), len(SPANS))

    report = validate_until_decided(
        GrowingReference(planned, run),
        Exact(damage=damage),
        profile(limits) if isinstance(limits, str) else limits,
        identity="exact",
        seed=seed,
    )
    return report, ran


def test_a_plain_case_is_decided_at_the_first_look():
    report, ran = decided(1.0)
    assert (report.verdict, report.documents, ran) == ("fail", 64, [64])
    assert report.looks.planned == (64, 128, 200)
    assert report.looks.taken == 1


def test_an_open_question_is_looked_at_to_the_end_and_no_document_twice():
    report, ran = decided(0.01, "near-lossless")  # no flip in 6,200 tokens is no proof of 0.01%
    assert (report.verdict, report.documents, ran) == ("inconclusive", 200, [64, 64, 72])
    assert any("looked 3 of at most 3 times" in note for note in report.notes)


def test_the_bounds_are_those_of_all_looks_together():
    report, _ = decided(0.01, "near-lossless")
    plain = validate(
        Exact(DOCUMENTS), Exact(damage=0.01), DOCUMENTS, profile("near-lossless"), identity="exact"
    )
    assert report.overall.kl_mean.value == pytest.approx(plain.overall.kl_mean.value)
    assert report.overall.kl_mean.upper > plain.overall.kl_mean.upper
    assert report.gates[0].confidence == pytest.approx(1 - 0.05 / 3)


def test_documents_keep_their_place_in_the_corpus_whatever_the_seed():
    plain = validate(
        Exact(DOCUMENTS), Exact(damage=1.0), DOCUMENTS, profile(), identity="exact"
    ).by_document[0]
    for seed in (0, 1):
        report, _ = decided(1.0, seed=seed)
        figures = report.by_document[0]
        assert len(figures.document) == 64
        for index, kl in zip(figures.document, figures.kl_mean, strict=True):
            assert kl == pytest.approx(plain.kl_mean[index])
    assert (
        report.corpus
        == validate(Exact(DOCUMENTS), Exact(), DOCUMENTS, profile(), identity="exact").corpus
    )


def test_the_same_seed_gives_the_same_report():
    first, again = (json.dumps(decided(0.05)[0].to_dict()) for _ in range(2))
    assert first == again


LENIENT = Profile("lenient", 1.0, inf, inf, 0.0, 1.0, 1.0)


def test_what_is_plain_passes_at_the_first_look():
    assert decided(0.01, LENIENT)[0].looks.taken == 1


def test_a_look_does_not_pass_because_a_span_is_still_short():
    """Of the answers only so few are in at first that an open question would not be asked."""
    figures = validate(
        Exact(DOCUMENTS), Exact(damage=0.3), DOCUMENTS, profile(), identity="exact"
    ).spans[1]
    assert figures.scope == "answer"
    # so near the limit that 64 documents leave it open
    own = SpanLimits(kl_mean=figures.kl_mean.value * 1.001)
    limits = replace(LENIENT, spans={"answer": own})
    report, _ = decided(0.3, limits)
    assert report.looks.taken == 3
    assert report.verdict == "inconclusive"
    assert report.reasons[0].startswith("answer: mean KLD")


def test_a_look_does_not_pass_before_it_saw_a_span_that_will_be_gated():
    rng = np.random.default_rng(3)
    long = ("answer",) + ("think",) * 4_000
    ids = tuple(map(int, rng.integers(0, VOCABULARY, len(long))))
    documents = list(DOCUMENTS)
    documents[plan(DOCUMENTS, 0).order[-1]] = Document("long", ids, long)
    report, _ = decided(0.01, LENIENT, documents=tuple(documents))
    assert report.looks.taken == 3
    assert "think" in [metrics.scope for metrics in report.spans]
