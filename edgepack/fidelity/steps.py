"""Reasoning step by step: where in a chain of thought an artifact first goes another way.

A step is a newline-separated piece of a thinking span; a trace is one such span. What follows the
first changed step is written on the wrong premise, so that step matters more than any mean. On
fixed ids, later steps are still measured as if all before them had gone right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgepack.fidelity.corpus import Document
from edgepack.fidelity.metrics import TokenScores, mean
from edgepack.fidelity.spans import SPANS

_LAST_INDEX: Final = 31  # steps from here on are summed up together
_LONGEST_TEXT: Final = 400  # letters of a step that are shown
_NEWLINE_BYTE: Final = "<0x0A>"  # as vocabularies with byte tokens spell it


@dataclass(frozen=True, slots=True)
class DamagedStep:
    """The first step of a trace with a hard flip, a broken token, or logits that are not finite.

    `position` is the first such token's in its document, `step` counts from 0 among the trace's
    `steps`. `expected_text` is what the text goes on with there, `candidate_text` what the artifact
    prefers; texts are empty when no tokenizer was given.
    """

    document: str
    step: int
    steps: int
    position: int
    tokens: int
    kl_mean: float
    kl_max: float
    hard_flips: int
    broken: int
    text: str
    expected_text: str
    candidate_text: str


@dataclass(frozen=True, slots=True)
class StepsAt:
    """All traces' steps number `step`, counted from 0; the last entry has all later ones too.

    `first_damaged` of them are the first damaged one of their trace.
    """

    step: int
    steps: int
    kl_mean: float
    kl_max: float
    hard_flips: int
    damaged: int
    first_damaged: int


@dataclass(frozen=True, slots=True)
class StepReport:
    """`damaged_traces` of `traces` have a damaged step, and `first_damaged` has the first of each.

    `kl_mean` is over steps, each its tokens' mean, `kl_p90` and `kl_max` are of these means.
    """

    traces: int
    damaged_traces: int
    steps: int
    damaged_steps: int
    kl_mean: float
    kl_p90: float
    kl_max: float
    by_index: tuple[StepsAt, ...]
    first_damaged: tuple[DamagedStep, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """Tokens of one step, and its number in a trace of `steps`."""

    index: int
    steps: int
    scores: TokenScores

    @property
    def faults(self) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = self.scores.hard_flip | ~self.scores.finite
        return found  # a broken token is a hard flip of a wider gap

    @property
    def damaged(self) -> bool:
        return bool(self.faults.any())

    @property
    def distances(self) -> NDArray[np.float64]:
        """KLD of the tokens that have one."""
        return self.scores.kl[self.scores.finite]


def step_report(
    scores: TokenScores, documents: Sequence[Document], text_of: Callable[[int], str]
) -> StepReport | None:
    """What the steps measure, or None for a sample in which nothing thinks."""
    traces = [_steps(trace, documents[trace.document[0]], text_of) for trace in _traces(scores)]
    if not traces:
        return None
    every = [step for trace in traces for step in trace]
    firsts = [step for trace in traces if (step := next(filter(_is_damaged, trace), None))]
    means = np.array([mean(step.distances) for step in every if len(step.distances)])
    return StepReport(
        traces=len(traces),
        damaged_traces=len(firsts),
        steps=len(every),
        damaged_steps=sum(step.damaged for step in every),
        kl_mean=mean(means),
        kl_p90=float(np.quantile(means, 0.9, method="inverted_cdf")) if len(means) else np.nan,
        kl_max=float(means.max()) if len(means) else np.nan,
        by_index=tuple(_by_index(every, firsts)),
        first_damaged=tuple(
            _shown(step, documents[step.scores.document[0]], text_of) for step in firsts
        ),
    )


def cut_steps(texts: Sequence[str]) -> list[slice]:
    """Steps of a trace, given its tokens' texts: every newline ends one.

    What is white space alone is no step: it counts with the step before it, at the start with the
    one after it. A token with a newline within it ends the step that it begins in.
    """
    cuts = [
        i + 1
        for i, text in enumerate(texts)
        if ("\n" in text or text == _NEWLINE_BYTE) and i + 1 < len(texts)
    ]
    pieces = [slice(a, b) for a, b in zip([0, *cuts], [*cuts, len(texts)], strict=True)]
    steps: list[slice] = []
    for piece in pieces:
        blank = all(not t.strip() or t == _NEWLINE_BYTE for t in texts[piece])
        opened = bool(steps) and all(not t.strip() or t == _NEWLINE_BYTE for t in texts[steps[-1]])
        if steps and (blank or opened):
            steps[-1] = slice(steps[-1].start, piece.stop)
        else:
            steps.append(piece)
    return steps


def _is_damaged(step: _Step) -> bool:
    return step.damaged


def _traces(scores: TokenScores) -> Iterator[TokenScores]:
    """Each run of neighbouring thinking tokens of one document."""
    part = scores.select(scores.span == SPANS.index("think"))
    if not len(part.kl):
        return
    apart = (np.diff(part.document) != 0) | (np.diff(part.position) != 1)
    for rows in np.split(np.arange(len(part.kl)), np.flatnonzero(apart) + 1):
        yield part.select(rows)


def _steps(trace: TokenScores, document: Document, text_of: Callable[[int], str]) -> list[_Step]:
    cuts = cut_steps([text_of(document.ids[i]) for i in trace.position])
    rows = np.arange(len(trace.kl))
    return [_Step(n, len(cuts), trace.select(rows[cut])) for n, cut in enumerate(cuts)]


def _by_index(every: Sequence[_Step], firsts: Sequence[_Step]) -> Iterator[StepsAt]:
    for index in range(min(_LAST_INDEX, max(step.index for step in every)) + 1):
        here = [step for step in every if min(step.index, _LAST_INDEX) == index]
        kl = np.concatenate([step.distances for step in here])
        yield StepsAt(
            index,
            len(here),
            mean(kl),
            float(kl.max()) if len(kl) else np.nan,
            sum(int(step.scores.hard_flip.sum()) for step in here),
            sum(step.damaged for step in here),
            sum(min(step.index, _LAST_INDEX) == index for step in firsts),
        )


def _shown(step: _Step, document: Document, text_of: Callable[[int], str]) -> DamagedStep:
    scores, distances = step.scores, step.distances
    at = int(step.faults.argmax())
    text = "".join(text_of(document.ids[i]) for i in scores.position)
    return DamagedStep(
        document.name,
        step.index,
        step.steps,
        int(scores.position[at]),
        len(scores.kl),
        mean(distances),
        float(distances.max()) if len(distances) else np.nan,
        int(scores.hard_flip.sum()),
        int(scores.broken.sum()),
        text[:_LONGEST_TEXT],
        text_of(document.ids[scores.position[at]]),
        text_of(int(scores.candidate_top[at])),
    )
