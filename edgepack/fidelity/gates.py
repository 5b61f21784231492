"""The verdict: limits by profile and span, and what the measured intervals say about them.

A check passes when the interval's upper bound is within its limit, fails when the lower bound is
beyond it, and is undecided otherwise. The verdict is `fail` when a check fails, else
`inconclusive` when a check is undecided, else `pass`, with one exception: a span of fewer than
4,000 tokens is gated only where its bounds decide. There an undecided check is a note, so a short
span can fail an artifact but cannot keep one from passing. Of a sample that is still
growing the whole plan counts: a span that will be asked is not passed over while few of its tokens
are in.

The sizes follow from the limits. A 99.9th percentile has an upper 95% bound from 2,995 tokens on,
and a rate below 0.01% needs 29,956 tokens without an event; hence 4,000 tokens a span and 32,000
for a sample. A smaller sample is called unpowered, which changes no verdict by itself.

A limit of zero hard flips is about the sample: one flip is proof that the rate is not zero.

Two models with a mean KLD above 1 and less than half of the first choices in common are not
versions of each other, and no limit means anything: the measurement is invalid, and fails.

What an undecided check would need, in documents, is estimated in `power`.

Broken documents are gated over the whole sample. Means cannot show them: one wrong digit in two
hundred right tokens is a mean KLD of 0.003 and a wrong answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite, isnan
from typing import Final, Literal

from edgepack.fidelity.bootstrap import CONFIDENCE, FEWEST_DOCUMENTS, Interval
from edgepack.fidelity.limits import MEANINGS, Profile
from edgepack.fidelity.metrics import Metrics
from edgepack.fidelity.power import more_documents, times_needed, tokens_for_quantile

Verdict = Literal["pass", "fail", "inconclusive", "not_run"]
Outcome = Literal["pass", "fail", "undecided"]

ENOUGH_DOCUMENTS: Final = 64
ENOUGH_TOKENS: Final = 32_000
ENOUGH_SPAN_TOKENS: Final = 4_000
# Beyond both, the two models are not versions of each other.
INVALID_KL_MEAN: Final = 1.0
INVALID_TOP1: Final = 0.5
_QUANTILES: Final = {"p99 KLD": 0.99, "p99.9 KLD": 0.999}


@dataclass(frozen=True, slots=True)
class Check:
    """One figure of one scope against its limit.

    `documents` and `tokens` are the scope's. `decides` is false for an open question in a span too
    short to be asked it. `confidence` is that of each bound.
    """

    scope: str
    figure: str
    interval: Interval
    limit: float
    outcome: Outcome
    documents: int = 0
    tokens: int = 0
    decides: bool = True
    confidence: float = CONFIDENCE

    @property
    def meaning(self) -> str:
        """What the limit is about, in words; empty for figures of other outputs."""
        return MEANINGS.get(self.figure, "")

    @property
    def times(self) -> float:
        """How many times the sample would decide, about; inf where that cannot be told."""
        if self.documents < FEWEST_DOCUMENTS:
            return FEWEST_DOCUMENTS / self.documents if self.documents else inf
        share = _QUANTILES.get(self.figure)
        if share and not isfinite(self.interval.upper) and self.interval.value <= self.limit:
            return max(1.0, tokens_for_quantile(share, self.confidence) / self.tokens)
        if self.figure == "top-1 agreement":
            return times_needed(complement(self.interval), 1 - self.limit)
        return times_needed(self.interval, self.limit)

    def __str__(self) -> str:
        low, value, high = (
            f"{bound:.3g}"
            for bound in (self.interval.lower, self.interval.value, self.interval.upper)
        )
        return (
            f"{self.scope}: {self.figure} {value} ({100 * self.confidence:.4g}% bounds {low} and "
            f"{high}), limit {self.limit:.3g}"
        )


@dataclass(frozen=True, slots=True)
class Judgement:
    """`reasons` led to the verdict; `notes` did not, but a reader should know them.

    `invalid` says that the two models cannot be compared at all; `more_documents` about how many
    more would decide, None where nothing is open or no number would do.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    powered: bool
    checks: tuple[Check, ...] = ()
    invalid: bool = False
    more_documents: int | None = None


def judge(
    overall: Metrics,
    spans: Sequence[Metrics],
    limits: Profile,
    *,
    non_finite: int = 0,
    floor: float = 0.0,
    confidence: float = CONFIDENCE,
    planned: Mapping[str, int] | None = None,
) -> Judgement:
    """The verdict on a sample and its spans.

    `non_finite` counts the tokens that have no figures; `floor` is the noise floor, a mean KLD;
    `confidence` is that of the metrics' bounds; `planned` are the tokens that each span will have,
    where the sample is the beginning of a larger one.
    """
    powered = overall.documents >= ENOUGH_DOCUMENTS and overall.tokens >= ENOUGH_TOKENS
    notes = [] if powered else [_unpowered(overall)]
    found = [
        replace(check, decides=_decides(check, planned or {}), confidence=confidence)
        for metrics in (overall, *spans)
        for check in checks(metrics, limits, floor=floor)
    ]
    notes += _short_spans(found)
    invalid = _is_invalid(overall)
    failed = [
        *_broken(overall, non_finite, invalid=invalid),
        *(str(check) for check in found if check.outcome == "fail"),
    ]
    undecided = [check for check in found if check.outcome == "undecided" and check.decides]
    ends = tuple(notes), powered, tuple(found)
    if failed:
        return Judgement("fail", tuple(failed), *ends, invalid)
    if undecided:
        more = [more_documents(check.times, overall.documents) for check in undecided]
        told = (f"{check}; {_needing(n)}" for check, n in zip(undecided, more, strict=True))
        known = [n for n in more if n is not None]
        most = max(known) if len(known) == len(more) else None
        return Judgement("inconclusive", tuple(told), *ends, more_documents=most)
    return Judgement("pass", (), *ends)


def checks(metrics: Metrics, limits: Profile, *, floor: float = 0.0) -> Iterator[Check]:
    """Every gated figure of one scope."""
    scope, own = metrics.scope, limits.within(metrics.scope)
    sample = metrics.documents, metrics.tokens
    share = own.kl_mean / limits.kl_mean if own.kl_mean else 1.0
    lifted = max(own.kl_mean or 0.0, share * limits.floor_multiple * floor)
    for figure, interval, limit in (
        ("mean KLD", metrics.kl_mean, lifted),
        ("p99 KLD", metrics.kl_p99, own.kl_p99),
        ("p99.9 KLD", metrics.kl_p999, own.kl_p999),
    ):
        if limit is not None:
            yield Check(scope, figure, interval, limit, at_most(interval, limit), *sample)
    if own.top1 is not None:
        outcome = at_most(complement(metrics.top1), 1 - own.top1)
        yield Check(scope, "top-1 agreement", metrics.top1, own.top1, outcome, *sample)
    if own.hard_flips is not None:
        yield rate_check(scope, "hard flips", metrics.hard_flips, own.hard_flips, *sample)
    if scope == "all":
        rate, most = metrics.broken_documents, limits.broken_documents
        yield rate_check(scope, "broken documents", rate, most, *sample)


def rate_check(
    scope: str, figure: str, rate: Interval, limit: float, documents: int = 0, tokens: int = 0
) -> Check:
    """A limit of zero is about the sample: it holds where nothing was seen."""
    outcome = at_most(rate, limit) if limit else "fail" if rate.value > 0 else "pass"
    return Check(scope, figure, rate, limit, outcome, documents, tokens)


def at_most(interval: Interval, limit: float) -> Outcome:
    if interval.upper <= limit:
        return "pass"
    return "fail" if interval.lower > limit else "undecided"


def complement(rate: Interval) -> Interval:
    """What a share leaves of one."""
    return Interval(1 - rate.value, 1 - rate.upper, 1 - rate.lower)


def _decides(check: Check, planned: Mapping[str, int]) -> bool:
    tokens = max(check.tokens, planned.get(check.scope, 0))
    long = check.scope == "all" or tokens >= ENOUGH_SPAN_TOKENS
    return long or check.outcome != "undecided"


def _short_spans(found: Sequence[Check]) -> Iterator[str]:
    """A note for each span in which a question is open, and not asked."""
    unasked = [check for check in found if not check.decides]
    for scope in dict.fromkeys(check.scope for check in unasked):
        here = [check for check in unasked if check.scope == scope]
        figures = ", ".join(check.figure for check in here)
        yield f"{scope}: {here[0].tokens} tokens are too few to gate {figures}"


def _is_invalid(overall: Metrics) -> bool:
    return overall.kl_mean.value > INVALID_KL_MEAN and overall.top1.value < INVALID_TOP1


def _broken(overall: Metrics, non_finite: int, *, invalid: bool) -> Iterator[str]:
    """What makes the comparison itself worthless, from the plain figures."""
    if non_finite or isnan(overall.kl_mean.value):
        yield f"logits are not finite at {non_finite} tokens"
    if invalid:
        yield (
            f"invalid measurement: mean KLD {overall.kl_mean.value:.3g}, top-1 agreement "
            f"{overall.top1.value:.3g}: the artifact does not behave like the reference at all "
            "(wrong model, tokenizer or metadata?)"
        )


def _needing(documents: int | None) -> str:
    if documents is None:
        return "too close to the limit for more documents to decide"
    return f"about {documents} more document{'s' * (documents != 1)} would decide"


def _unpowered(overall: Metrics) -> str:
    return (
        f"unpowered: {overall.documents} documents and {overall.tokens} tokens; "
        f"{ENOUGH_DOCUMENTS} and {ENOUGH_TOKENS} make a full sample"
    )
