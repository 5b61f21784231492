"""Bounds on samples whose truth is known."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest

from edgepack.fidelity.bootstrap import Bootstrap


def sample(rng, documents, tokens, spread):
    """A lognormal document effect times lognormal tokens: mean exp((spread^2 + 1) / 2)."""
    document = np.repeat(np.arange(documents, dtype=np.int32), tokens)
    effect = np.exp(spread * rng.standard_normal(documents))
    return document, effect[document] * np.exp(rng.standard_normal(len(document)))


def covered(spread: float, samples: int) -> tuple[float, float]:
    """Shares of samples whose upper and lower bounds hold the true mean."""
    rng = np.random.default_rng(5)
    truth = np.exp((spread**2 + 1) / 2)
    above = below = 0
    for seed in range(samples):
        document, values = sample(rng, 64, 60, spread)
        found = Bootstrap(document, replicates=400, seed=seed).mean(values)
        above += found.upper >= truth
        below += found.lower <= truth
    return above / samples, below / samples


def test_coverage_of_the_mean():
    above, below = covered(0.5, 300)
    assert 0.91 <= above <= 0.98  # nominal 0.95, standard error 0.013
    assert 0.91 <= below <= 0.995


@pytest.mark.parametrize("documents", [16, 240])
def test_the_upper_bound_of_a_mean_holds_for_few_and_for_many(documents):
    above = 0
    for seed in range(200):
        document, values = sample(np.random.default_rng(seed), documents, 40, 0.5)
        found = Bootstrap(document, replicates=400, seed=seed).mean(values)
        above += found.upper >= np.exp(0.625)
    assert 0.9 <= above / 200 <= 0.99  # nominal 0.95, standard error 0.015


def test_coverage_of_a_rate_that_differs_by_document():
    """Shares of 2% by document from a beta distribution: 64 documents of 100 tokens."""
    above = below = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        document = np.repeat(np.arange(64, dtype=np.int32), 100)
        events = rng.random(6400) < rng.beta(1, 49, 64)[document]
        found = Bootstrap(document, replicates=400, seed=seed).rate(events, unseen=True)
        above += found.upper >= 0.02
        below += found.lower <= 0.02
    assert 0.89 <= above / 200 <= 0.99  # from above it is a little short: rates are skewed too
    assert 0.91 <= below / 200 <= 1.0


def test_a_higher_confidence_is_kept_more_often():
    """As a look of several needs it: at 98.3% the bound must fail far less than at 95%."""
    missed = {0.95: 0, 1 - 0.05 / 3: 0}
    for seed in range(200):
        document, values = sample(np.random.default_rng(seed), 64, 40, 0.5)
        for confidence in missed:
            sampled = Bootstrap(document, replicates=300, seed=seed, confidence=confidence)
            missed[confidence] += sampled.mean(values).upper < np.exp(0.625)
    low, high = missed.values()
    assert high <= 0.05 * 200
    assert high < low


def test_tokens_of_one_document_are_not_independent():
    """Where documents differ, bounds must be far wider than independent tokens would give."""
    document, values = sample(np.random.default_rng(2), 100, 100, 1.0)
    clustered = Bootstrap(document).mean(values)
    independent = Bootstrap(np.arange(len(values), dtype=np.int32), replicates=200).mean(values)
    assert clustered.value == independent.value
    assert (clustered.upper - clustered.value) > 2.5 * (independent.upper - independent.value)


def test_documents_of_unequal_length_weigh_by_their_tokens():
    document = np.array([0] * 90 + [1] * 10, np.int32)
    assert Bootstrap(document).mean((document == 1) * 1.0).value == pytest.approx(0.1)


def test_a_rate_has_the_bounds_of_the_binomial_when_documents_are_tokens():
    """50 of 1000: exact one-sided bounds (Clopper-Pearson) are 0.0391 and 0.0630."""
    events = np.arange(1000) < 50
    found = Bootstrap(np.arange(1000, dtype=np.int32)).rate(events)
    assert found.lower == pytest.approx(0.0391, abs=0.002)
    assert found.upper == pytest.approx(0.0630, abs=0.003)


def test_no_event_bounds_a_rate_by_three_over_the_sample():
    document = np.repeat(np.arange(100, dtype=np.int32), 10)
    none = np.zeros(1000, bool)
    assert Bootstrap(document).rate(none, unseen=True).upper == pytest.approx(0.00299, abs=1e-5)
    assert Bootstrap(document).rate(none).upper == 0


def test_quantile_of_uniform_tokens():
    """Of n independent uniform values the 99th percentile has standard error sqrt(.99*.01/n)."""
    n = 10_000
    values = (np.random.default_rng(3).permutation(n) + 0.5) / n
    found = Bootstrap(np.arange(n, dtype=np.int32), replicates=400).quantile(values, 0.99)
    error = 1.645 * np.sqrt(0.99 * 0.01 / n)
    assert found.value == pytest.approx(0.99, abs=1e-4)
    assert found.value - found.lower == pytest.approx(error, rel=0.2)
    assert found.upper - found.value == pytest.approx(error, rel=0.2)


@pytest.mark.parametrize(("tokens", "bounded"), [(298, False), (299, True)])
def test_a_quantile_beyond_the_sample_has_no_upper_bound(tokens, bounded):
    values = np.random.default_rng(3).random(tokens)
    found = Bootstrap(np.arange(tokens, dtype=np.int32)).quantile(values, 0.99)
    assert (found.upper < inf) == bounded
    assert found.lower > 0.9


def test_too_few_documents_bound_nothing():
    found = Bootstrap(np.repeat(np.arange(4, dtype=np.int32), 1000)).mean(np.ones(4000))
    assert (found.value, found.lower, found.upper) == (1, -inf, inf)


def test_a_seed_gives_the_same_bounds():
    document, values = sample(np.random.default_rng(2), 20, 20, 1.0)
    first, again, other = (Bootstrap(document, seed=seed).mean(values) for seed in (1, 1, 2))
    assert first == again != other


def test_one_bad_document_among_many_leaves_the_question_open():
    """All distance in one document: it may be one in fifty or one in a thousand."""
    document = np.repeat(np.arange(50, dtype=np.int32), 10)
    found = Bootstrap(document).mean((document == 7) * 1.0)
    assert found.lower <= 0.02 <= found.upper
    assert found.upper > 0.05


def test_a_document_counts_once_however_many_events_it_holds():
    document = np.repeat(np.arange(20, dtype=np.int32), 5)
    events = np.zeros(100, bool)
    events[:5] = True  # all in the first document
    events[7] = True  # one in the second
    found = Bootstrap(document).document_rate(events)
    assert found.value == 0.1
    assert 0 <= found.lower < 0.1 < found.upper < 0.4


def test_no_event_in_any_document_bounds_the_share_only_by_their_number():
    found = Bootstrap(np.arange(64, dtype=np.int32)).document_rate(np.zeros(64, bool))
    assert found.value == 0
    assert found.upper == pytest.approx(0.0457, abs=1e-4)  # 1 - 0.05 ** (1 / 64)
