"""Percentiles, buckets and the distillation loss, of two-token vocabularies by hand."""

from __future__ import annotations

from math import inf, log, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgepack.errors import UsageError
from edgepack.fidelity.breakdown import buckets, check_loss, distillation, distributions
from edgepack.fidelity.corpus import Document
from edgepack.fidelity.metrics import score


def scored(reference, candidate, ids=None, temperature=1.0):
    """Scores of rows of shares [T, V], every token being 0 unless said."""
    ids = ids or (0,) * (len(reference) + 1)
    document = Document("d", tuple(ids), ("text",) * len(ids))
    logits = (
        np.log(np.array([*shares, shares[-1]], np.float32)) for shares in (reference, candidate)
    )
    return score(*logits, document, 0, temperature=temperature)


SURE, EVEN, TURNED = (0.9, 0.1), (0.5, 0.5), (0.1, 0.9)


def test_buckets_by_hand():
    """Two sure tokens, of which the artifact turns one round, and two drawn by lot."""
    scores = scored([SURE, SURE, EVEN, EVEN], [SURE, TURNED, EVEN, EVEN])
    found = {(b.by, b.lower): b for b in buckets(scores)}
    assert set(found) == {
        ("entropy", 0.1),
        ("entropy", 0.5),
        ("confidence", 0.5),
        ("confidence", 0.9),
        ("depth", 0.0),
    }
    sure, even = found["entropy", 0.1], found["entropy", 0.5]
    assert (sure.tokens, sure.top1, sure.hard_flips, sure.hard_flip_count) == (2, 0.5, 0.5, 1)
    assert sure.kl_mean == pytest.approx(0.8 * log(9) / 2, rel=1e-5)
    assert sure.kl_max == pytest.approx(0.8 * log(9), rel=1e-5)
    assert (even.tokens, even.top1, even.hard_flip_count) == (2, 1.0, 0)
    assert even.kl_mean == pytest.approx(0, abs=1e-9)
    assert found["confidence", 0.9].kl_mean == sure.kl_mean
    assert found["depth", 0.0].tokens == 4


def test_depth_doubles():
    scores = scored([EVEN] * 300, [EVEN] * 300)
    depths = [(b.lower, b.upper, b.tokens) for b in buckets(scores) if b.by == "depth"]
    assert depths == [(0, 64, 63), (64, 128, 64), (128, 256, 128), (256, 512, 45)]


@settings(deadline=None)
@given(arrays(np.float32, (9, 5), elements=st.floats(-40, 40, width=32)))
def test_every_token_is_in_one_bucket_of_each_kind(logits):
    document = Document("d", (0,) * 9, ("text",) * 9)
    found = buckets(score(logits, logits, document, 0))
    for by in ("entropy", "confidence", "depth"):
        assert sum(b.tokens for b in found if b.by == by) == 8


def test_distributions_by_hand():
    """One token in a thousand is turned round: the 99.9th percentile does not see it yet."""
    scores = scored([SURE] * 1000, [SURE] * 999 + [TURNED])
    found = {d.figure: d for d in distributions(scores)}
    assert list(found) == ["kl", "reverse_kl", "tv", "kl_tempered", "nll_change"]
    kl = found["kl"]
    assert kl.mean == pytest.approx(0.8 * log(9) / 1000, rel=1e-5)
    assert (kl.p50, kl.p99, kl.p999) == pytest.approx((0, 0, 0), abs=1e-9)
    assert kl.max == pytest.approx(0.8 * log(9), rel=1e-5)
    assert found["tv"].max == pytest.approx(0.8, rel=1e-6)
    assert found["nll_change"].max == pytest.approx(log(9), rel=1e-5)


def test_tokens_without_distances_are_left_out():
    scores = scored([SURE, EVEN], [(nan, 0.5), EVEN])
    assert [b.tokens for b in buckets(scores)] == [1, 1, 1]
    assert distributions(scores.select(~scores.finite)) == ()


def test_the_loss_by_hand():
    scores = scored([SURE, SURE], [EVEN, EVEN], (0, 0, 1), temperature=2.0)
    found = distillation(scores, 0.25, 2.0)
    kl = 0.75 * log(1.5) + 0.25 * log(0.5)
    assert found.cross_entropy == pytest.approx(log(2), rel=1e-6)
    assert found.kl == pytest.approx(kl, rel=1e-5)
    assert found.loss == pytest.approx(0.25 * log(2) + 0.75 * kl, rel=1e-5)
    assert found.reference_loss == pytest.approx(0.25 * -(log(0.9) + log(0.1)) / 2, rel=1e-5)


@pytest.mark.parametrize(
    ("alpha", "temperature"), [(-0.1, 1), (1.1, 1), (nan, 1), (0.5, 0), (0.5, -1), (0.5, inf)]
)
def test_what_makes_no_loss_is_refused(alpha, temperature):
    with pytest.raises(UsageError):
        check_loss(alpha, temperature)
    check_loss(0.0, 0.5)
    check_loss(1.0, 3.0)
