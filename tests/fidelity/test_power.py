"""How many documents decide, where theory knows the answer."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest

from edgepack.fidelity.bootstrap import Bootstrap, Interval
from edgepack.fidelity.gates import at_most
from edgepack.fidelity.power import more_documents, times_needed, tokens_for_quantile


@pytest.mark.parametrize(
    ("interval", "limit", "times"),
    [
        (Interval(1.0, 0.6, 1.4), 1.2, 4),  # above by twice the distance
        (Interval(1.0, 0.6, 1.4), 0.8, 4),  # below likewise
        (Interval(0.0, 0.0, 0.003), 0.001, 3),  # three over the sample
        (Interval(1.0, 0.5, 2.0), 1.0, inf),  # at the limit
        (Interval(1.0, 0.5, 2.0), 1.0001, inf),  # and all but at it
        (Interval(1.0, -inf, inf), 2.0, inf),
    ],
)
def test_the_width_goes_down_with_the_root_of_the_sample(interval, limit, times):
    assert times_needed(interval, limit) == pytest.approx(times)


def test_documents_are_rounded_upwards_to_two_digits():
    assert more_documents(4.0, 64) == 200  # 192
    assert more_documents(1.01, 64) == 1
    assert more_documents(inf, 64) is None


def test_tokens_of_a_quantile_are_those_of_the_gates():
    assert (tokens_for_quantile(0.99), tokens_for_quantile(0.999)) == (299, 2995)


def test_so_many_documents_do_decide():
    """What 100 exponential documents of mean 1 ask for against a limit of 1.1, most need."""
    decided, asked = 0, []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        found = Bootstrap(np.arange(100, dtype=np.int32), replicates=400).mean(
            rng.exponential(size=100)
        )
        asked.append(times_needed(found, 1.1))
    # theory: (1.645 * 1 / sqrt(100) / 0.1)^2 = 2.7, of a distance that is itself uncertain
    assert 1 < np.median(asked) < 12
    for seed in range(20):
        values = np.random.default_rng(100 + seed).exponential(size=1000)
        found = Bootstrap(np.arange(1000, dtype=np.int32), replicates=400).mean(values)
        decided += at_most(found, 1.1) == "pass"
    assert decided >= 14  # theory 93%
