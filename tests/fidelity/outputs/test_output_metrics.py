"""Distances of outputs, against what they are by definition."""

import numpy as np
import pytest

from edgepack.fidelity.bootstrap import Interval
from edgepack.fidelity.limits import profile
from edgepack.fidelity.outputs.gates import LIMITS, judge
from edgepack.fidelity.outputs.metrics import OutputScores, score, summarize

PROFILES = ("convert", "near-lossless", "balanced", "aggressive")


def rows(seed, shape=(50, 8)):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def measured(reference, candidate, kind="embeddings", documents=64):
    """The same rows as every document's."""
    parts = [score(reference, candidate, index) for index in range(documents)]
    return summarize(OutputScores.concatenate(parts), kind)


def test_distance_is_one_minus_the_cosine():
    a, b = rows(0), rows(1)
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    cosine = (a64 * b64).sum(1) / np.linalg.norm(a64, axis=1) / np.linalg.norm(b64, axis=1)
    found = score(a, b, 3)
    np.testing.assert_allclose(found.distance, 1 - cosine, atol=1e-12)
    np.testing.assert_allclose(found.difference, np.abs(a64 - b64).max(1), rtol=1e-7)
    assert set(found.document) == {3}


def test_small_distances_are_not_lost_in_rounding():
    a = rows(0)
    assert 0 < score(a, a * np.float32(1 + 1e-6) + np.float32(1e-6), 0).distance.max() < 1e-10
    assert score(a, a, 0).distance.max() == 0


def test_rows_of_zeros_have_a_distance():
    zero = np.zeros((1, 4), np.float32)
    assert score(zero, zero, 0).distance[0] == 0
    assert score(zero, np.ones((1, 4), np.float32), 0).distance[0] == 0.5


def test_first_choices_and_gaps():
    reference = np.array([[3.0, 1.0, 0.0], [0.0, 0.5, 0.25]], np.float32)
    candidate = np.array([[3.0, 1.0, 0.0], [0.5, 0.0, 0.25]], np.float32)
    found = score(reference, candidate, 0)
    assert found.agrees.tolist() == [True, False]
    assert found.gap.tolist() == [2.0, 0.25]


def test_one_logit_is_a_choice_against_zero():
    found = score(np.float32([[2.0], [-4.0]]), np.float32([[1.0], [1.0]]), 0)
    assert found.agrees.tolist() == [True, False]
    assert found.gap.tolist() == [2.0, 4.0]


def test_a_certain_choice_that_changed_breaks_its_document():
    reference, candidate = np.float32([[4.0, 0.0]]), np.float32([[0.0, 4.0]])
    metrics = measured(reference, candidate, "logits")
    assert metrics.broken_documents.value == 1
    assert metrics.top1.value == 0
    unsure = measured(reference / 2, candidate / 2, "logits")
    assert unsure.broken_documents.value == 0


def test_a_turned_embedding_is_a_broken_document():
    a = np.float32([[1.0, 0.0]])
    assert measured(a, np.float32([[0.9, 0.6]])).broken_documents.value == 1
    assert measured(a, np.float32([[0.9, 0.2]])).broken_documents.value == 0
    assert measured(a, a).top1 is None


def test_rows_that_are_not_finite_are_counted_apart():
    candidate = rows(0)
    candidate[3, 2] = np.nan
    scores = score(rows(0), candidate, 0)
    assert scores.finite.sum() == 49
    metrics = summarize(scores, "embeddings")
    assert metrics.rows == 49
    assert metrics.distance_max == 0
    judgement = judge(metrics, profile("aggressive"), non_finite=1)
    assert judgement.verdict == "fail"
    assert "not finite in 1 rows" in judgement.reasons[0]


def test_nothing_finite_is_a_failure():
    nothing = summarize(score(rows(0), rows(0) * np.nan, 0), "embeddings")
    assert judge(nothing, profile("balanced"), non_finite=50).verdict == "fail"


@pytest.mark.parametrize("name", PROFILES)
def test_equal_outputs_pass_every_profile(name):
    for kind in ("embeddings", "hidden states", "logits"):
        judgement = judge(measured(rows(0), rows(0), kind), profile(name))
        assert (judgement.verdict, judgement.powered) == ("pass", True)


@pytest.mark.parametrize("name", PROFILES)
def test_limits_of_vectors(name):
    limit = LIMITS[name].distance
    for factor, verdict in ((0.9, "pass"), (1.1, "fail")):
        angle = np.arccos(1 - factor * limit)
        turned = np.float32([[np.cos(angle), np.sin(angle)]])
        judgement = judge(measured(np.float32([[1, 0]]), turned), profile(name))
        assert judgement.verdict == verdict, judgement.reasons


@pytest.mark.parametrize("name", PROFILES)
def test_limits_of_logits(name):
    limit = LIMITS[name].difference
    for factor, verdict in ((0.9, "pass"), (1.1, "fail")):
        moved = np.float32([[9.0, 0.0]]) + np.float32(factor * limit)
        judgement = judge(measured(np.float32([[9, 0]]), moved, "logits"), profile(name))
        assert judgement.verdict == verdict, judgement.reasons


def test_few_documents_are_undecided_and_said_to_be_few():
    metrics = measured(rows(0), rows(0), documents=6)
    judgement = judge(metrics, profile("balanced"))
    assert judgement.verdict == "inconclusive"
    assert "6 documents" in judgement.notes[0]
    assert metrics.broken_documents == Interval(0.0, 0.0, pytest.approx(1 - 0.05 ** (1 / 6)))


def test_unlike_embeddings_are_no_versions_of_one_model():
    judgement = judge(measured(rows(0), rows(1)), profile("aggressive"))
    assert judgement.verdict == "fail"
    assert "does not behave like the reference" in judgement.reasons[0]
