"""The plan of looks, fixed beforehand, and its error kept to what one look has."""

from __future__ import annotations

import numpy as np
import pytest

from edgepack.fidelity.bootstrap import Bootstrap
from edgepack.fidelity.looks import drawn_order, look_confidence, planned_looks


@pytest.mark.parametrize(
    ("documents", "looks"),
    [(5, (5,)), (64, (64,)), (65, (64, 65)), (240, (64, 128, 240)), (256, (64, 128, 256))],
)
def test_looks_double_until_all_is_seen(documents, looks):
    assert planned_looks(documents) == looks


def test_the_order_is_the_seeds_and_holds_every_document_once():
    assert drawn_order(100, 1) == drawn_order(100, 1) != drawn_order(100, 2)
    assert sorted(drawn_order(100, 1)) == list(range(100))


def test_all_looks_together_err_no_more_than_one():
    """At a limit that is the truth, to pass at any look is an error: 5% are allowed."""
    looks, wrong, uncorrected = planned_looks(128, first=16), 0, 0
    for seed in range(150):
        values = np.random.default_rng(seed).normal(1.0, 0.3, 128)
        for counted, confidence in ((True, look_confidence(len(looks))), (False, 0.95)):
            passed = any(
                Bootstrap(np.arange(n, dtype=np.int32), replicates=300, confidence=confidence)
                .mean(values[:n])
                .upper
                < 1.0
                for n in looks
            )
            wrong += passed and counted
            uncorrected += passed and not counted
    assert wrong <= 0.05 * 150 + 5
    assert uncorrected > wrong
