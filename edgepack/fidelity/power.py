"""How large a sample decides: what a bound needs to come within its limit.

A bound's distance from its figure goes down with the square root of the sample, so a figure at
distance d from its limit, whose bound reaches w, needs (w / d)^2 as many documents: near the
limit, many. Where nothing was seen the bound is about 3 / tokens instead, and a percentile has no
upper bound before one token in so many was drawn at all. The law says nothing of what the new
documents hold, so what is given here is about right, never a promise.

What a sample can decide, by lognormal tokens in documents that differ by a factor of e^0.5 (alike)
or of e (unlike), 100 tokens each, 60 samples of each size. Four artifacts of five that are so far
from the limit are decided:

    documents        16           64          256         1024
    alike      0.66   1.43  0.83   1.18  0.91   1.09  0.96   1.04   mean KLD over its limit: passes
    unlike     0.41   2.16  0.61   1.46  0.78   1.22  0.90   1.10   below the first, fails above

A share of tokens of which none is seen is proved below 3 / tokens: 0.5% by 600 tokens, 0.01% by
29,956. None of 64 documents broken proves less than 4.6% broken, none of 240 less than 1.2%.
"""

from __future__ import annotations

from math import ceil, inf, isfinite, log

from edgepack.fidelity.bootstrap import CONFIDENCE, Interval

MOST_TIMES = 1000.0
"""Beyond so many times the sample a figure is as good as at its limit: no sample decides."""


def times_needed(interval: Interval, limit: float) -> float:
    """How many times the sample would bring the nearer bound to `limit`; inf where none would.

    The figure is better the smaller it is. Pass complements for one that is better the larger.
    """
    distance = abs(limit - interval.value)
    bound = interval.upper if interval.value <= limit else interval.lower
    reach = abs(bound - interval.value)
    if not distance or not isfinite(reach):
        return inf
    share = reach / distance
    times = share if interval.value == 0 else share**2
    return times if times <= MOST_TIMES else inf


def tokens_for_quantile(share: float, confidence: float = CONFIDENCE) -> int:
    """The fewest tokens of which the largest is, with `confidence`, above the quantile `share`."""
    return ceil(log(1 - confidence) / log(share))


def more_documents(times: float, documents: int) -> int | None:
    """Documents to add to `documents`, to two digits upwards; None where no number would do."""
    if not isfinite(times):
        return None
    more = max(1, ceil(documents * (times - 1)))
    scale: int = 10 ** max(0, len(str(more)) - 2)
    return -(-more // scale) * scale
