"""An artifact measured look by look: the reference runs on no document that is not looked at."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgepack.fidelity import Document, profile, validate
from edgepack.fidelity.chunks import whole_chunks
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


def decided(damage, limits="balanced", seed=0):
    planned, ran = plan(DOCUMENTS, seed), []

    def run(more):
        ran.append(len(more))
        return Run(Exact(more), whole_chunks(more), len(SPANS))

    report = validate_until_decided(
        GrowingReference(planned, run),
        Exact(damage=damage),
        profile(limits),
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
