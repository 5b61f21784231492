"""The verdict at and around every limit."""

from __future__ import annotations

from dataclasses import replace
from math import inf, nan

import pytest

from edgepack.errors import UsageError
from edgepack.fidelity.bootstrap import Interval
from edgepack.fidelity.gates import checks, judge
from edgepack.fidelity.limits import MEANINGS, PROFILES, SpanLimits, profile
from edgepack.fidelity.metrics import Metrics

BALANCED = profile("balanced")


def at(value: float, reach: float = 0.0) -> Interval:
    return Interval(value, value - reach, value + reach)


def perfect(scope="all", tokens=40_000, documents=100) -> Metrics:
    """A sample with no distance at all."""
    none = at(0.0)
    return Metrics(
        scope=scope,
        documents=documents,
        tokens=tokens,
        kl_mean=none,
        kl_p99=none,
        kl_p999=none,
        top1=at(1.0),
        hard_flips=none,
        broken_documents=none,
        ln_ppl_ratio=none,
        kl_p50=0.0,
        kl_p90=0.0,
        kl_max=0.0,
        reverse_kl_mean=0.0,
        alpha=1.0,
        hard_flip_count=0,
    )


def test_the_profiles_are_those_documented():
    table = {
        (p.name, p.kl_mean, p.kl_p99, p.kl_p999, p.top1, p.hard_flips, p.broken_documents)
        for p in PROFILES
    }
    assert table == {
        ("convert", 1e-4, 0.005, 0.02, 0.995, 0, 0),
        ("near-lossless", 0.005, 0.03, 0.10, 0.965, 0.0001, 0.05),
        ("balanced", 0.05, 0.50, 2.0, 0.91, 0.005, 0.05),
        ("aggressive", 0.15, 1.5, 4.0, 0.85, 0.02, 0.15),
    }


def test_an_unknown_profile_is_refused_with_the_nearest():
    with pytest.raises(UsageError) as error:
        profile("balancd")
    assert "balanced" in error.value.hint


def test_no_distance_passes_every_profile():
    for limits in PROFILES:
        found = judge(perfect(), [perfect("think")], limits)
        assert (found.verdict, found.reasons, found.notes) == ("pass", (), ())
        assert found.powered


@pytest.mark.parametrize(
    ("figure", "limit", "worse"),
    [
        ("kl_mean", 0.05, 1),
        ("kl_p99", 0.5, 1),
        ("kl_p999", 2.0, 1),
        ("top1", 0.91, -1),
        ("hard_flips", 0.005, 1),
    ],
)
def test_each_limit(figure, limit, worse):
    def verdict(value: float) -> str:
        damaged = replace(perfect(), **{figure: at(value, 0.001)}, hard_flip_count=1)
        return judge(damaged, [], BALANCED).verdict

    assert verdict(limit - worse * 0.0011) == "pass"
    assert verdict(limit - worse * 0.0009) == "inconclusive"
    assert verdict(limit + worse * 0.0009) == "inconclusive"
    assert verdict(limit + worse * 0.0011) == "fail"


def test_a_span_fails_the_whole_and_is_named():
    think = replace(perfect("think"), kl_mean=at(0.06))
    found = judge(perfect(), [perfect("answer"), think], BALANCED)
    assert found.verdict == "fail"
    (reason,) = found.reasons
    assert reason.startswith("think: mean KLD 0.06")
    assert "limit 0.05" in reason


@pytest.mark.parametrize("scope", ["tool_call", "control"])
def test_strict_spans_have_half_the_mean_and_no_hard_flip(scope):
    def verdict(**figures) -> str:
        return judge(perfect(), [replace(perfect(scope), **figures)], BALANCED).verdict

    assert verdict(kl_mean=at(0.0249)) == "pass"
    assert verdict(kl_mean=at(0.0251)) == "fail"
    # One flip among many tokens: bounds that reach down to zero do not excuse it.
    assert verdict(hard_flips=Interval(1e-5, 0.0, 3e-5), hard_flip_count=1) == "fail"


def test_a_failure_outweighs_an_open_question():
    undecided = replace(perfect("answer"), kl_mean=at(0.05, 0.01))
    failed = replace(perfect("think"), kl_mean=at(0.06))
    assert judge(perfect(), [undecided], BALANCED).verdict == "inconclusive"
    assert judge(perfect(), [undecided, failed], BALANCED).verdict == "fail"


def test_a_short_span_is_gated_only_where_its_bounds_decide():
    short = perfect("answer", tokens=900)
    undecided = replace(short, kl_p999=Interval(0.3, 0.1, inf))
    found = judge(perfect(), [undecided], BALANCED)
    assert (found.verdict, found.reasons) == ("pass", ())
    assert found.notes == ("answer: 900 tokens are too few to gate p99.9 KLD",)
    assert judge(perfect(), [replace(short, kl_p999=at(2.1))], BALANCED).verdict == "fail"
    assert judge(perfect(), [replace(undecided, tokens=4000)], BALANCED).verdict == "inconclusive"


@pytest.mark.parametrize(
    ("documents", "tokens", "powered"),
    [(64, 32_000, True), (63, 32_000, False), (64, 31_999, False)],
)
def test_a_small_sample_is_called_unpowered_and_still_judged(documents, tokens, powered):
    found = judge(perfect(tokens=tokens, documents=documents), [], BALANCED)
    assert found.verdict == "pass"
    assert found.powered == powered
    assert any("unpowered" in note for note in found.notes) != powered


def test_logits_that_are_not_finite_fail():
    found = judge(perfect(), [], BALANCED, non_finite=3)
    assert found.verdict == "fail"
    assert found.reasons == ("logits are not finite at 3 tokens",)


def test_models_that_have_nothing_in_common_are_an_invalid_measurement():
    figures = {"kl_mean": at(1.01, 1), "top1": at(0.49, 0.4)}
    found = judge(replace(perfect(), **figures), [], profile("aggressive"))
    assert (found.verdict, found.invalid) == ("fail", True)
    assert "invalid measurement" in found.reasons[0]


@pytest.mark.parametrize("figures", [{"kl_mean": at(1.01, 0)}, {"top1": at(0.49, 0)}])
def test_a_crude_version_of_the_model_is_a_failure_and_no_invalid_measurement(figures):
    found = judge(replace(perfect(), **figures), [], profile("aggressive"))
    assert (found.verdict, found.invalid) == ("fail", False)


def test_a_sample_without_one_finite_token_fails():
    found = judge(replace(perfect(), kl_mean=at(nan)), [], BALANCED, non_finite=9)
    assert (found.verdict, found.reasons[0]) == ("fail", "logits are not finite at 9 tokens")


def test_a_measured_floor_lifts_the_mean_of_convert_alone():
    damaged = replace(perfect(), kl_mean=at(2.9e-4))
    assert judge(damaged, [], profile("convert")).verdict == "fail"
    assert judge(damaged, [], profile("convert"), floor=1e-4).verdict == "pass"
    damaged = replace(perfect(), kl_mean=at(0.06))
    assert judge(damaged, [], BALANCED, floor=0.1).verdict == "fail"


def test_documents_broken_at_certain_tokens_fail_though_every_mean_is_tiny():
    share = Interval(0.11, 0.08, 0.15)
    judgement = judge(replace(perfect(), broken_documents=share), (), BALANCED)
    assert judgement.verdict == "fail"
    assert "broken documents" in judgement.reasons[0]


def test_first_choices_in_the_prompt_are_not_gated_but_distances_are():
    spans = (replace(perfect("prompt"), top1=at(0.5)),)
    assert judge(perfect(), spans, BALANCED).verdict == "pass"
    spans = (replace(perfect("prompt"), kl_mean=at(0.2)),)
    assert judge(perfect(), spans, BALANCED).verdict == "fail"


def test_every_gate_is_explained():
    for limits in PROFILES:
        for check in checks(perfect(), limits):
            assert check.meaning == MEANINGS[check.figure]


def test_an_undecided_verdict_says_how_many_more():
    found = judge(replace(perfect(), kl_mean=at(0.045, 0.01)), [], BALANCED)
    assert found.verdict == "inconclusive"
    assert found.more_documents == 300  # 100 documents, four times
    assert found.reasons[0].endswith("limit 0.05; about 300 more documents would decide")
    agreement = judge(replace(perfect(), top1=at(0.92, 0.02)), [], BALANCED)
    assert agreement.more_documents == 300
    at_limit = judge(replace(perfect(), kl_mean=at(0.05, 0.01)), [], BALANCED)
    assert at_limit.more_documents is None
    assert "too close to the limit" in at_limit.reasons[0]


def test_a_percentile_without_a_bound_asks_for_the_tokens_that_give_one():
    sample = perfect(tokens=1500, documents=64)
    found = judge(replace(sample, kl_p999=Interval(0.3, 0.1, inf)), [], BALANCED)
    assert found.more_documents == 64  # 2,995 tokens, of 23 and a half a document


def test_limits_of_a_span_are_its_own():
    own = replace(BALANCED, spans={"think": SpanLimits(kl_mean=0.01)})
    think = replace(perfect("think"), kl_mean=at(0.02))
    assert judge(perfect(), [think], BALANCED).verdict == "pass"
    assert judge(perfect(), [think], own).verdict == "fail"
    assert judge(perfect(), [replace(think, scope="answer")], own).verdict == "pass"
