"""The self-test's damage is of the size it says, and a gate that does not work is found out."""

from __future__ import annotations

import numpy as np
import pytest

from edgepack.fidelity import Document, profile
from edgepack.fidelity.damage import lowered, spread, swapped
from edgepack.fidelity.limits import PROFILES
from edgepack.fidelity.metrics import score
from edgepack.fidelity.selftest import self_test

VOCABULARY = 30
SPANS = ("prompt",) * 10 + ("think",) * 60 + ("control",) + ("answer",) * 30
RNG = np.random.default_rng(4)
DOCUMENTS = tuple(
    Document(f"d:{n}", tuple(map(int, RNG.integers(0, VOCABULARY, len(SPANS)))), SPANS)
    for n in range(12)
)
LOGITS = [(4 * RNG.standard_normal((len(SPANS), VOCABULARY))).astype(np.float32) for _ in DOCUMENTS]


@pytest.mark.parametrize("kl", [1e-5, 1e-3, 0.05, 0.5, 4.0])
@pytest.mark.parametrize("gain", [0.1, 1.0, 8.0])  # from nearly uniform to nearly certain
def test_lowering_gives_exactly_the_distance_asked_for(kl, gain):
    logits = (gain * LOGITS[0]).astype(np.float32)
    found = score(logits, lowered(logits, kl), DOCUMENTS[0], 0)
    if gain == 8.0:  # where the first choice has all, float32 has no finer steps
        assert np.median(found.kl) == pytest.approx(kl, rel=0.02)
    else:
        np.testing.assert_allclose(found.kl, kl, rtol=0.03)


def test_swapping_flips_every_token_as_hard_as_its_gap():
    found = score(LOGITS[0], swapped(LOGITS[0]), DOCUMENTS[0], 0)
    assert not found.agrees.any()
    np.testing.assert_array_equal(found.hard_flip, found.gap > 1)


def test_damage_is_spread_over_the_documents():
    document = np.repeat(np.arange(8, dtype=np.int32), 50)
    chosen = spread(np.arange(400), document, 20)
    counts = np.bincount(document[chosen], minlength=8)
    assert 20 <= len(chosen) <= 24
    assert counts.min() >= 2
    assert np.bincount(document[spread(np.arange(400), document, 1)]).tolist() == [1] * 8


@pytest.mark.parametrize("limits", PROFILES, ids=lambda p: p.name)
def test_every_limit_trips(limits):
    found = self_test(LOGITS.__getitem__, DOCUMENTS, limits, "drawn")
    assert {trial.state for trial in found.trials} == {"trips"}
    assert {trial.scope for trial in found.trials} == {"all", *SPANS}
    assert (found.documents, found.tokens) == (12, 1200)


def test_figures_come_to_just_within_and_just_beyond():
    found = self_test(LOGITS.__getitem__, DOCUMENTS, profile("balanced"), "drawn")
    mean = next(t for t in found.trials if (t.scope, t.figure) == ("think", "mean KLD"))
    assert mean.within == pytest.approx(0.0475, rel=1e-3)
    assert mean.beyond == pytest.approx(0.0525, rel=1e-3)
    strict = next(t for t in found.trials if (t.scope, t.figure) == ("control", "mean KLD"))
    assert strict.limit == 0.025


def test_a_gate_that_does_not_trip_is_found_out(monkeypatch):
    """A verdict that never fails, and one that always does."""
    from edgepack.fidelity import gates

    real = gates.at_most
    monkeypatch.setattr(gates, "at_most", lambda interval, limit: "pass")
    found = self_test(LOGITS.__getitem__, DOCUMENTS, profile("balanced"), "drawn")
    assert {t.figure for t in found.of("does not trip")} >= {"mean KLD", "top-1 agreement"}
    monkeypatch.setattr(gates, "at_most", lambda interval, limit: real(interval, limit / 1.2))
    found = self_test(LOGITS.__getitem__, DOCUMENTS, profile("balanced"), "drawn")
    assert "mean KLD" in {t.figure for t in found.of("trips below")}


def test_a_limit_that_cannot_be_tried_is_said_to_be_untested():
    found = self_test(LOGITS.__getitem__, DOCUMENTS[:4], profile("balanced"), "drawn")
    untested = found.of("untested")
    assert {t.figure for t in untested} > {"mean KLD", "p99 KLD"}
    assert untested[0].damage == "4 documents have it, 5 give a bound"
    sure = [0.01 * logits for logits in LOGITS]  # no gap is above 1 nat
    found = self_test(sure.__getitem__, DOCUMENTS, profile("balanced"), "drawn")
    assert {t.figure for t in found.of("untested")} == {"hard flips", "broken documents"}
