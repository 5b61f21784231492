from dataclasses import replace
from types import SimpleNamespace

import pytest

from edgepack.memory.speculative import ACCEPTANCES, pair, speedup, vocabularies_differ


def test_by_hand():
    """Acceptance 0.8, a draft of a tenth of the cost: 6 drafted give 3.951424 for 1.6."""
    found = speedup(0.8, 0.1)
    assert (found.drafted, found.times) == (6, pytest.approx(3.951424 / 1.6))


def test_a_draft_as_slow_as_its_target_is_left_alone():
    assert speedup(0.9, 1.0) == replace(speedup(0.9, 1.0), drafted=0, times=1.0)


def test_more_acceptance_is_never_slower():
    times = [speedup(share, 0.05).times for share in ACCEPTANCES]
    assert times == sorted(times)
    assert times[0] > 1


def fit(rate):
    return SimpleNamespace(decode=rate and SimpleNamespace(high=rate), fits=True)


def test_a_pair_has_the_ratio_of_its_speeds():
    found = pair(fit(10.0), fit(10.0), fit(100.0))
    assert found.cost == pytest.approx(0.1)
    assert [each.acceptance for each in found.speedups] == list(ACCEPTANCES)
    assert found.fits


def test_an_unknown_speed_gives_no_factor():
    assert pair(fit(None), fit(None), fit(100.0)).speedups == ()


def test_a_target_that_the_draft_slows_is_held_against_itself_alone():
    """Half as fast beside a free draft: at most twice the tokens make up for it."""
    found = pair(fit(20.0), fit(10.0), fit(1e9))
    assert found.speedups[0].times == pytest.approx(0.5 * 2, rel=1e-4)
    assert found.pays
    assert not pair(fit(20.0), fit(10.0), fit(10.0)).pays


def test_vocabularies_may_differ_by_little(decoder_of):
    target = decoder_of(vocabulary=151_936)
    assert vocabularies_differ(target, decoder_of(vocabulary=152_064)) is None
    told = vocabularies_differ(target, decoder_of(vocabulary=152_065))
    assert told is not None
    assert "151936 and 152065" in told
