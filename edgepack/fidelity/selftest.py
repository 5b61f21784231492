"""Whether the gates trip: damage of known size, just within each limit and just beyond it.

For every figure of every scope that a profile limits, the reference's logits are damaged in that
scope alone so that the figure comes to 0.95 of its limit, and to 1.05 (of shares, 0.75 and 1.25, or
as much more as the sample needs to be sure). They go the whole way that an artifact's do. Within
the limit the check must not fail; beyond it the check must, and the verdict with it. A gate that
is not seen to trip is no gate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from math import ceil, floor, sqrt
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from edgepack.fidelity.bootstrap import FEWEST_DOCUMENTS
from edgepack.fidelity.corpus import Document
from edgepack.fidelity.damage import Logits, lowered, not_finite, spread, swapped
from edgepack.fidelity.gates import Check, Judgement, judge
from edgepack.fidelity.metrics import CERTAIN_GAP, HARD_GAP, TokenScores, score, summarize
from edgepack.fidelity.spans import SPANS, Span

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgepack.fidelity.limits import Profile

State = Literal["trips", "does not trip", "trips below", "untested"]
_TAILS: Final = {"p99 KLD": 0.03, "p99.9 KLD": 0.003}  # shares of rows: thrice what they speak of
_CODES: Final[dict[str, int]] = {span: code for code, span in enumerate(SPANS)}
_WITHIN, _BEYOND = 0.95, 1.05
_FEWER, _MORE = 0.75, 1.25


@dataclass(frozen=True, slots=True)
class Trial:
    """One limit tried: what the figure was just `within` it and just `beyond`, and what followed.

    `damage` says what was done; figures are None where nothing could be done there.
    """

    scope: str
    figure: str
    limit: float | None
    damage: str
    within: float | None
    beyond: float | None
    state: State


@dataclass(frozen=True, slots=True)
class SelfTest:
    """All trials of a profile, on `documents` of `tokens` in all."""

    profile: str
    reference: str
    documents: int
    tokens: int
    trials: tuple[Trial, ...]

    def of(self, *states: State) -> tuple[Trial, ...]:
        return tuple(trial for trial in self.trials if trial.state in states)


class Bench:
    """The reference's logits of some documents, and scores of them damaged.

    Undamaged rows have no distance and need no scoring twice: only changed rows are scored.
    """

    def __init__(self, logits: Callable[[int], Logits], documents: Sequence[Document]) -> None:
        self._logits = np.concatenate([logits(i)[:-1] for i in range(len(documents))])
        self._targets = np.concatenate([d.ids[1:] for d in documents])
        self._spans: tuple[Span, ...] = tuple(s for d in documents for s in d.spans[1:])
        self.clean = TokenScores.concatenate(
            [score(logits(i), logits(i), document, i) for i, document in enumerate(documents)]
        )

    def damaged(self, rows: NDArray[np.intp], by: Callable[[Logits], Logits]) -> TokenScores:
        """Scores where the logits of `rows` went through `by`."""
        if not len(rows):
            return self.clean
        ids = (0, *map(int, self._targets[rows]))
        spans: tuple[Span, ...] = ("prompt", *(self._spans[row] for row in rows))
        before = self._logits[rows]
        after = by(before)
        document = Document("damaged", ids, spans)
        # the last row of a document predicts nothing, so one is added
        found = score(_with_last(before), _with_last(after), document, 0)
        columns = {field.name: getattr(self.clean, field.name).copy() for field in fields(found)}
        for name, column in columns.items():
            if name not in ("document", "position", "span"):
                column[rows] = getattr(found, name)
        return replace(self.clean, **columns)

    def rows(self, scope: str) -> NDArray[np.intp]:
        """Places of a scope's tokens."""
        if scope == "all":
            return np.arange(len(self.clean.kl))
        return np.flatnonzero(self.clean.span == _CODES[scope])


def _with_last(rows: Logits) -> Logits:
    return np.concatenate([rows, rows[-1:]])


def self_test(
    logits: Callable[[int], Logits], documents: Sequence[Document], limits: Profile, name: str
) -> SelfTest:
    """Try every limit of a profile on the reference's own logits; `name` is the reference's."""
    bench = Bench(logits, documents)
    clean = _judged(bench.clean, limits)
    trials = (
        *(_trial(bench, check, limits) for check in clean.checks),
        _not_finite_trial(bench, limits),
    )
    return SelfTest(limits.name, name, len(documents), len(bench.clean.kl), trials)


def _judged(scores: TokenScores, limits: Profile, *scopes: str) -> Judgement:
    """The verdict by the whole sample and the spans named; by all, where none is."""
    overall = summarize(scores, "all")
    present = (span for code, span in enumerate(SPANS) if code in scores.span)
    spans = [summarize(scores, span) for span in present if not scopes or span in scopes]
    return judge(overall, spans, limits, non_finite=int((~scores.finite).sum()))


def _trial(bench: Bench, check: Check, limits: Profile) -> Trial:
    if check.documents < FEWEST_DOCUMENTS and check.limit:
        few = f"{check.documents} documents have it, {FEWEST_DOCUMENTS} give a bound"
        return Trial(check.scope, check.figure, check.limit, few, None, None, "untested")
    levels = dict(_levels(bench, check))
    if not levels:
        none = "no token here is sure enough to be flipped"
        return Trial(check.scope, check.figure, check.limit, none, None, None, "untested")
    results = {level: _judged(scores, limits, check.scope) for level, (_, scores) in levels.items()}
    within, beyond = (_same(results[level], check) for level in ("within", "beyond"))
    trips = beyond.outcome == "fail" and results["beyond"].verdict == "fail"
    state: State = "trips below" if within.outcome == "fail" else "does not trip"
    if trips and within.outcome != "fail":
        state = "trips"
    figures = within.interval.value, beyond.interval.value
    return Trial(check.scope, check.figure, check.limit, levels["beyond"][0], *figures, state)


def _same(judgement: Judgement, check: Check) -> Check:
    return next(c for c in judgement.checks if (c.scope, c.figure) == (check.scope, check.figure))


def _levels(bench: Bench, check: Check) -> Iterator[tuple[str, tuple[str, TokenScores]]]:
    """The damage within and beyond a limit: what was done, and the scores."""
    rows, scores = bench.rows(check.scope), bench.clean
    if "KLD" in check.figure:
        share = _TAILS.get(check.figure)
        if share:
            rows = spread(rows, scores.document, ceil(share * len(rows)))
        for level, times in (("within", _WITHIN), ("beyond", _BEYOND)):
            kl = times * check.limit
            told = f"first choice lowered to a KLD of {kl:.3g}, {len(rows)} tokens"
            yield level, (told, bench.damaged(rows, partial(lowered, kl=kl)))
        return
    for level, chosen in _flips(scores, check, rows):
        told = f"first and second choice swapped, {len(chosen)} tokens"
        yield level, (told, bench.damaged(chosen, swapped))


def _flips(
    scores: TokenScores, check: Check, rows: NDArray[np.intp]
) -> Iterator[tuple[str, NDArray[np.intp]]]:
    """Rows to swap within and beyond a limit on a share."""
    if check.figure == "broken documents":
        written = scores.span[rows] != SPANS.index("prompt")
        rows = _sure(scores, rows[written], CERTAIN_GAP)
        rows = rows[np.unique(scores.document[rows], return_index=True)[1]]  # one of each document
        least = check.limit * check.documents
        # a binomial count this far above its mean is sure to be above it, by 95%
        sure = 1 if not least else ceil(least + 2 * sqrt(least) + 1)
        if len(rows) >= sure:
            yield "within", rows[: floor(_FEWER * least)]
            yield "beyond", rows[:sure]
        return
    share = 1 - check.limit if check.figure == "top-1 agreement" else check.limit
    tokens = len(rows)
    if check.figure == "hard flips":
        rows = _sure(scores, rows, HARD_GAP)
    else:  # the least sure ones: to swap them is a flip, and no hard one
        rows = rows[scores.gap[rows] > 0]
    if len(rows):
        fewer = floor(_FEWER * share * tokens)
        yield "within", rows[np.linspace(0, len(rows) - 1, fewer).astype(np.intp)]
        # whole tokens cannot be spread quite evenly: one more for each deviation of their number
        uneven = ceil(sqrt(check.documents))
        most = spread(rows, scores.document, ceil(_MORE * share * tokens) + uneven)
        yield "beyond", most if share else most[:1]


def _sure(scores: TokenScores, rows: NDArray[np.intp], gap: float) -> NDArray[np.intp]:
    return rows[scores.gap[rows] > gap * (1 + 1e-6)]


def _not_finite_trial(bench: Bench, limits: Profile) -> Trial:
    judged = _judged(bench.damaged(bench.rows("all")[-1:], not_finite), limits, "all")
    state: State = "trips" if judged.verdict == "fail" else "does not trip"
    return Trial("all", "finite logits", None, "NaN at 1 token", 0.0, 1.0, state)
