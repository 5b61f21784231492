"""Distances against figures worked out by hand and against fractions computed exactly."""

from __future__ import annotations

from math import exp, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgepack.fidelity import metrics
from edgepack.fidelity.corpus import Document
from edgepack.fidelity.metrics import TokenScores, score, summarize
from edgepack.fidelity.spans import SPANS


def document(*ids: int, spans: tuple[str, ...] = ()) -> Document:
    return Document("d", ids, spans or ("text",) * len(ids))


def rows(*distributions: tuple[float, ...]) -> np.ndarray:
    """Logits of these distributions, one more row that predicts nothing."""
    return np.log(np.array([*distributions, distributions[-1]], np.float32))


def test_one_token_by_hand():
    # p = (1/2, 1/4, 1/4), q = (1/4, 1/2, 1/4).
    found = score(rows((0.5, 0.25, 0.25)), rows((0.25, 0.5, 0.25)), document(0, 1), 3)
    assert found.kl == pytest.approx(0.25 * log(2), abs=1e-7)
    assert found.reverse_kl == pytest.approx(0.25 * log(2), abs=1e-7)
    assert found.tv == pytest.approx(0.25, abs=1e-7)
    assert found.reference_nll == pytest.approx(log(4), abs=1e-6)
    assert found.candidate_nll == pytest.approx(log(2), abs=1e-6)
    assert found.gap == pytest.approx(log(2), abs=1e-6)
    assert (found.reference_top, found.candidate_top) == ([0], [1])
    assert not found.agrees
    assert not found.hard_flip
    assert (found.document, found.position) == ([3], [1])


def test_entropy_confidence_and_a_temperature_by_hand():
    """At T = 2 odds of 9 to 1 are odds of 3 to 1, and odds of 1 to 1 stay."""
    found = score(rows((0.9, 0.1)), rows((0.5, 0.5)), document(0, 0), 0, temperature=2.0)
    assert found.kl_tempered == pytest.approx(0.75 * log(1.5) + 0.25 * log(0.5), abs=1e-6)
    assert found.kl == pytest.approx(0.9 * log(1.8) + 0.1 * log(0.2), abs=1e-6)
    assert found.entropy == pytest.approx(-0.9 * log(0.9) - 0.1 * log(0.1), abs=1e-6)
    assert found.confidence == pytest.approx(0.9, abs=1e-7)


def test_forward_and_reverse_differ():
    found = score(rows((0.9, 0.1)), rows((0.5, 0.5)), document(0, 0), 0)
    assert found.kl == pytest.approx(0.9 * log(1.8) + 0.1 * log(0.2), abs=1e-6)
    assert found.reverse_kl == pytest.approx(0.5 * log(5 / 9) + 0.5 * log(5), abs=1e-6)


def test_a_row_is_scored_against_the_next_token_and_its_span():
    reference = rows((0.7, 0.2, 0.1), (0.1, 0.7, 0.2))
    ids = document(2, 1, 0, spans=("prompt", "think", "control"))
    found = score(reference, reference, ids, 0)
    assert found.reference_nll == pytest.approx([-log(0.2), -log(0.1)], abs=1e-6)
    assert [SPANS[code] for code in found.span] == ["think", "control"]
    assert found.position.tolist() == [1, 2]


def test_a_hard_flip_needs_a_gap_above_one_nat():
    logits = np.array([[1.1, 0, -5], [0.9, 0, -5], [0, 0, 0]], np.float32)
    found = score(logits, logits[:, [1, 0, 2]], document(0, 0, 0), 0)
    assert found.agrees.tolist() == [False, False]
    assert found.hard_flip.tolist() == [True, False]


@settings(deadline=None)
@given(
    arrays(np.float32, (4, 7), elements=st.floats(-30, 30, width=32)),
    arrays(np.float32, (4, 7), elements=st.floats(-30, 30, width=32)),
    st.floats(-1000, 1000, width=16),
)
def test_properties(p, q, shift):
    ids = document(0, 1, 2, 3)
    found = score(p, q, ids, 0)
    assert (found.kl >= 0).all()
    assert (found.tv >= 0).all()
    assert (found.tv <= 1 + 1e-12).all()
    # Pinsker: TV is at most sqrt(KL / 2). A sum of seven float64 terms knows KL to 1e-15.
    assert (found.tv <= np.sqrt((found.kl + 1e-15) / 2)).all()
    # Logits are known up to a constant; float32 storage of the shifted ones is what is lost.
    shifted = score(p, q + np.float32(shift), ids, 0)
    np.testing.assert_allclose(shifted.kl, found.kl, atol=0.02)
    assert (found.entropy >= 0).all()
    assert (found.entropy <= log(7) + 1e-12).all()
    assert (found.confidence >= 1 / 7 - 1e-12).all()
    assert (found.confidence <= 1).all()
    np.testing.assert_array_equal(found.kl_tempered, found.kl)  # at T = 1
    softened = score(p, q, ids, 0, temperature=4.0)
    assert (softened.kl_tempered >= 0).all()
    scaled = score(p / np.float32(4), q / np.float32(4), ids, 0)  # powers of two: nothing is lost
    np.testing.assert_allclose(softened.kl_tempered, scaled.kl, atol=1e-12)
    swapped = score(q, p, ids, 0)
    np.testing.assert_allclose(swapped.kl, found.reverse_kl, atol=1e-12)


def test_huge_logits_do_not_overflow():
    logits = np.array([[3e38, -3e38], [0, 0]], np.float32)
    found = score(logits, logits, document(0, 0), 0)
    assert found.kl.tolist() == [0.0]


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(1)
    p, q = rng.standard_normal((2, 50, 11)).astype(np.float32)
    ids = document(*rng.integers(0, 11, 50))
    whole = score(p, q, ids, 0)
    monkeypatch.setattr(metrics, "_BLOCK_ELEMENTS", 33)
    np.testing.assert_array_equal(score(p, q, ids, 0).kl, whole.kl)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_logit_that_is_not_finite_is_flagged(bad):
    p = rows((0.5, 0.5), (0.5, 0.5))
    q = p.copy()
    q[0, 1] = bad
    found = score(p, q, document(0, 1, 0), 0)
    assert found.finite.tolist() == [False, True]
    assert np.isnan(found.kl).tolist() == [True, False]
    assert not found.agrees[0]


def test_summary_by_hand():
    """Ten documents of 100 tokens; the candidate is wrong, and surely so, on one of each."""
    sure, other = (0.8, 0.1, 0.1), (0.1, 0.8, 0.1)
    spans = ("prompt",) * 51 + ("think",) * 50
    reference = rows(*[sure] * 100)
    candidate = rows(*[sure] * 99, other)
    parts = [score(reference, candidate, document(*[0] * 101, spans=spans), i) for i in range(10)]
    scores = TokenScores.concatenate(parts)
    kl = 0.7 * log(8)
    overall = summarize(scores, "all")
    assert (overall.documents, overall.tokens, overall.hard_flip_count) == (10, 1000, 10)
    assert overall.kl_mean.value == pytest.approx(kl / 100, rel=1e-5)
    # Documents are alike, so drawing others of them changes nothing.
    assert overall.kl_mean.lower == pytest.approx(kl / 100, rel=1e-5)
    assert overall.kl_mean.upper == pytest.approx(kl / 100, rel=1e-5)
    assert overall.top1.value == pytest.approx(0.99)
    assert overall.hard_flips.value == pytest.approx(0.01)
    assert overall.alpha == pytest.approx(1 - 0.7 / 100, rel=1e-6)
    assert overall.reference_nll == pytest.approx(-log(0.8), rel=1e-6)
    assert overall.candidate_nll == pytest.approx(-0.99 * log(0.8) - 0.01 * log(0.1), rel=1e-6)
    assert overall.entropy == pytest.approx(-0.8 * log(0.8) - 0.2 * log(0.1), rel=1e-6)
    assert overall.kl_p95 == pytest.approx(0, abs=1e-9)
    assert exp(overall.ln_ppl_ratio.value * 1000) == pytest.approx(8**10, rel=1e-2)
    assert overall.kl_p99.value == pytest.approx(0, abs=1e-9)
    assert overall.kl_p999.value == pytest.approx(kl, rel=1e-5)
    assert overall.kl_max == pytest.approx(kl, rel=1e-5)
    prompt, think = summarize(scores, "prompt"), summarize(scores, "think")
    assert (prompt.tokens, think.tokens) == (500, 500)
    assert prompt.kl_mean.value == pytest.approx(0, abs=1e-9)
    assert think.kl_mean.value == pytest.approx(kl / 50, rel=1e-5)


def test_a_scope_without_tokens_has_no_bounds():
    found = summarize(score(rows((0.5, 0.5)), rows((0.5, 0.5)), document(0, 1), 0), "think")
    assert found.tokens == 0
    assert found.kl_mean.upper == np.inf
