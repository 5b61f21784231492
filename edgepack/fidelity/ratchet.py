"""The ratchet: no significant loss against an earlier report, even inside the limits.

Where both reports say what every document showed, the same documents are compared in pairs: what
makes a document hard is then in both figures and cancels. Else the bounds of both are compared,
which sees less. A loss is significant where its lower 95% bound, shared out over all comparisons
(Bonferroni), is above a hundredth of the limit: less is rounding, such as another processor's.

Broken documents are events: some break, others heal. Where no more changed one way than a fair coin
would give (the exact sign test: McNemar, Psychometrika 12, 1947), no loss is certain. Percentiles
have no pairs and are compared by bounds alone, where there are no pairs at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import comb, isfinite
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgepack.errors import UsageError
from edgepack.fidelity.bootstrap import CONFIDENCE, Bootstrap, Interval
from edgepack.fidelity.by_document import DocumentFigures

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgepack.fidelity.gates import Check
    from edgepack.fidelity.report import FidelityReport

TOLERANCE: Final = 0.01
_FRESH: Final = "measure the earlier artifact again as this one is, and use that report"
# report's figure -> document's figure; the shares are counts over tokens
_PAIRED: Final = {
    "mean KLD": "kl_mean",
    "top-1 agreement": "flips",
    "hard flips": "hard_flips",
    "broken documents": "broken",
}
# the reference's own likelihood, printed to six digits, on another processor
_SAME_REFERENCE: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Loss:
    """By how much a figure of a scope is worse than it was, and whether that is `significant`."""

    scope: str
    figure: str
    before: float
    after: float
    loss: Interval
    significant: bool

    def __str__(self) -> str:
        return (
            f"{self.scope}: {self.figure} was {self.before:.3g} and is {self.after:.3g}: worse "
            f"by {self.loss.value:.3g}, by {self.loss.lower:.3g} at least"
        )


@dataclass(frozen=True, slots=True)
class Ratchet:
    """A comparison with the report called `baseline`; `paired` documents, 0 where bounds were."""

    baseline: str
    paired: int
    losses: tuple[Loss, ...]


def held_to(report: FidelityReport, earlier: Mapping[str, Any], name: str) -> FidelityReport:
    """`report` with what it lost since `earlier`, a report's plain form; a loss fails it.

    One that failed before it was measured stays as it is. `earlier` is as `check_report` allows.
    Raises UsageError where the two measured something else: checkpoint, corpus or profile.
    """
    if report.verdict == "fail" and not report.gates:
        return report
    _require_same(report, earlier, name)
    pairs = {} if not report.by_document else _pairs(report.by_document, earlier)
    losses = tuple(_paired_losses(report, earlier, pairs) if pairs else _losses(report, earlier))
    found = Ratchet(name, len(pairs["all"][0]) if pairs else 0, losses)
    if not any(isfinite(loss.loss.lower) for loss in losses):
        few = f"{name}: too few documents in common to compare"
        report = replace(report, notes=(*report.notes, few))
    reasons = tuple(f"worse than {name}: {loss}" for loss in losses if loss.significant)
    if not reasons:
        return replace(report, ratchet=found)
    kept = report.reasons if report.verdict == "fail" else ()
    return replace(
        report, verdict="fail", reasons=(*kept, *reasons), more_documents=None, ratchet=found
    )


def _require_same(report: FidelityReport, earlier: Mapping[str, Any], name: str) -> None:
    for what in ("reference", "profile", "corpus"):
        here, there = getattr(report, what), earlier.get(what)
        if here != there:
            told = f"{str(there)[:40]!r}, not {here[:40]!r}"
            raise UsageError(f"{name}: its {what} is {told}", _FRESH)
    limits = {(g["scope"], g["figure"]): g["limit"] for g in earlier.get("gates", ())}
    for gate in report.gates:
        there = limits.get((gate.scope, gate.figure), gate.limit)
        if abs(there - gate.limit) > 1e-5 * gate.limit:
            raise UsageError(
                f"{name}: its profile {report.profile!r} limits {gate.figure} of {gate.scope} to "
                f"{there:g}, not {gate.limit:g}",
                _FRESH,
            )


Pairs = dict[str, tuple[list[int], list[int]]]  # by scope, places here and there


def _pairs(here: Sequence[DocumentFigures], earlier: Mapping[str, Any]) -> Pairs:
    """The places of the documents that both have, by scope; none where the earlier says nothing."""
    pairs: Pairs = {}
    for figures in here:
        there = _scope(earlier, figures.scope)
        if there is None:
            continue
        places = {document: place for place, document in enumerate(there["document"])}
        both = [(i, places[d]) for i, d in enumerate(figures.document) if d in places]
        if both:
            pairs[figures.scope] = [i for i, _ in both], [j for _, j in both]
    return pairs if "all" in pairs else {}


def _scope(earlier: Mapping[str, Any], scope: str) -> Mapping[str, Any] | None:
    found: Sequence[Mapping[str, Any]] = earlier.get("by_document") or ()
    return next((figures for figures in found if figures["scope"] == scope), None)


def _paired_losses(
    report: FidelityReport, earlier: Mapping[str, Any], pairs: Pairs
) -> Iterator[Loss]:
    compared = [gate for gate in report.gates if gate.scope in pairs and gate.figure in _PAIRED]
    confidence = 1 - (1 - CONFIDENCE) / max(1, len(compared))
    for figures in report.by_document:
        there = _scope(earlier, figures.scope)
        if figures.scope not in pairs or there is None:
            continue
        _require_same_reference(figures, there, pairs[figures.scope])
        mine, theirs = pairs[figures.scope]
        tokens = np.array(figures.tokens)[mine]
        document = np.repeat(np.arange(len(mine), dtype=np.int32), tokens)
        sample = Bootstrap(document, seed=report.seed, confidence=confidence)
        for gate in (gate for gate in compared if gate.scope == figures.scope):
            key = _PAIRED[gate.figure]
            if not there.get(key) or not getattr(figures, key):
                continue  # a report from before documents said so
            after = np.array(getattr(figures, key), float)[mine]
            before = np.array(there[key], float)[theirs]
            if key == "broken":
                yield _broken_loss(gate, before, after, report.seed, confidence)
                continue
            if key != "kl_mean":  # counts, to rates
                after, before = after / tokens, before / np.array(there["tokens"])[theirs]
            loss = sample.mean(np.repeat(after - before, tokens))
            weight = tokens / tokens.sum()
            yield _loss(gate, float(before @ weight), float(after @ weight), loss)


def _broken_loss(
    gate: Check,
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    seed: int,
    confidence: float,
) -> Loss:
    """Documents [D] that were broken and are, 0 or 1 each."""
    documents = np.arange(len(after), dtype=np.int32)
    loss = Bootstrap(documents, seed=seed, confidence=confidence).mean(after - before)
    worse, changed = int((after > before).sum()), int((after != before).sum())
    if sign_test(worse, changed) > 1 - confidence:
        loss = replace(loss, lower=min(loss.lower, 0.0))
    return _loss(gate, float(before.mean()), float(after.mean()), loss)


def sign_test(worse: int, changed: int) -> float:
    """Probability that at least `worse` of `changed` fair coins fall one way."""
    tails = sum(comb(changed, k) for k in range(worse, changed + 1))
    return float(Fraction(tails, 2**changed))


def _require_same_reference(
    here: DocumentFigures, there: Mapping[str, Any], places: tuple[list[int], list[int]]
) -> None:
    """The reference's likelihood of each document tells two checkpoints of one name apart."""
    mine, theirs = places
    now, then = np.array(here.reference_nll)[mine], np.array(there["reference_nll"], float)[theirs]
    if not np.allclose(now, then, rtol=_SAME_REFERENCE, atol=_SAME_REFERENCE):
        raise UsageError(
            "the baseline's reference is another checkpoint of the same name: it finds the "
            f"documents likely by {then.mean():.5g} nats a token, this one by {now.mean():.5g}",
            _FRESH,
        )


def _loss(gate: Check, before: float, after: float, loss: Interval) -> Loss:
    """Shares are compared by what is lost: changed first choices, for top-1 agreement."""
    agreement = gate.figure == "top-1 agreement"
    limit = 1 - gate.limit if agreement else gate.limit
    shown = (1 - before, 1 - after) if agreement else (before, after)
    return Loss(gate.scope, gate.figure, *shown, loss, bool(loss.lower > TOLERANCE * limit))


def _losses(report: FidelityReport, earlier: Mapping[str, Any]) -> Iterator[Loss]:
    """By bounds: what is certain now is worse than what was possible then."""
    there = {(g["scope"], g["figure"]): g["interval"] for g in earlier.get("gates", ())}
    for gate in report.gates:
        found = there.get((gate.scope, gate.figure))
        if found is None or None in found.values():
            continue
        bounds = (float(found[key]) for key in ("value", "lower", "upper"))
        before, after = Interval(*bounds), gate.interval
        if gate.figure == "top-1 agreement":
            loss = _difference(after, before)
            yield _loss(gate, 1 - before.value, 1 - after.value, loss)
        else:
            yield _loss(gate, before.value, after.value, _difference(before, after))


def _difference(low: Interval, high: Interval) -> Interval:
    return Interval(high.value - low.value, high.lower - low.upper, high.upper - low.lower)
