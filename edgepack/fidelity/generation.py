"""What an artifact writes by itself, beside what the reference writes to the same prompts.

Both choose the likeliest token. Distances are measured on given text, and cannot say what a small
one leads to when every token follows from the last. Nor is all that differs a fault: rounding alone
moves greedy text. So a third writer stands beside the two, the reference with its activations
rounded to bfloat16, as runtimes calculate: what it does, ordinary noise does.

The rule: a fault (thinking that never closes, a tool call that is no JSON, a loop, no answer where
the reference has one) fails the artifact where it has it, and the control has not, in significantly
more prompts than the other way round, by the exact sign test on the prompts where the two differ,
one-sided at 5%. At least five more are needed. Other results than the reference's are a note by the
same test, and fail nothing: an answer that changed may be as right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb
from statistics import median
from typing import Final

from edgepack.fidelity.metrics import HARD_GAP
from edgepack.fidelity.replies import Reply, last_number

SIGNIFICANCE: Final = 0.05
PROMPTS: Final = 32
LIMIT: Final = 512  # tokens of a reply


@dataclass(frozen=True, slots=True)
class Continuation:
    """One prompt's pair. `diverged` is the first position at which the texts differ, None where
    they do not; `gap` is there the reference's first logit less its second."""

    document: str
    length: int
    reference_length: int
    diverged: int | None
    gap: float | None
    same_result: bool
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Conduct:
    """All prompts of one writer against the reference; counts are of prompts.

    `certain` are divergences where the reference's gap is above 1 nat; `missed` are prompts where
    the thinking came to the reference's result, and the answer does not give it. `length_ratio` is
    that of all tokens. Medians are over the prompts that diverge.
    """

    same_text: int
    same_result: int
    diverged: int
    certain: int
    first_divergence: float | None
    gap: float | None
    unclosed: int
    loops: int
    broken_calls: int
    no_answer: int
    missed: int
    cut_off: int
    length_ratio: float


@dataclass(frozen=True, slots=True)
class GenerationReport:
    """`limit` is the most tokens of a reply: what was cut off there may be unclosed for no fault.

    `reference` is the reference's own conduct, `control` that of its rounded self.
    """

    prompts: int
    limit: int
    reference: Conduct
    artifact: Conduct
    control: Conduct
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    continuations: tuple[Continuation, ...]


Sign = Callable[[Reply, Reply], bool]
"""Whether a reply has a fault, given the reference's."""

FAULTS: Final[dict[str, Sign]] = {
    "thinking is not closed": lambda reply, own: reply.unclosed,
    "a tool call is no JSON": lambda reply, own: reply.broken_calls > 0,
    "it loops": lambda reply, own: reply.loops,
    "no answer": lambda reply, own: not reply.result and bool(own.result),
}


def compare(
    names: Sequence[str],
    reference: Sequence[Reply],
    gaps: Sequence[Sequence[float]],
    artifact: Sequence[Reply],
    control: Sequence[Reply],
    limit: int,
) -> GenerationReport:
    """The report on replies to the same prompts; `gaps` are the reference's, token by token."""
    reasons = []
    for fault, sign in FAULTS.items():
        theirs, usual = (
            [sign(reply, own) for reply, own in zip(replies, reference, strict=True)]
            for replies in (artifact, control)
        )
        if more := significantly_more(theirs, usual):
            reasons.append(f"generation: {fault}: {more}")
    others, noise = (
        [reply.result != own.result for reply, own in zip(replies, reference, strict=True)]
        for replies in (artifact, control)
    )
    changed = significantly_more(others, noise)
    pairs = zip(names, reference, gaps, artifact, strict=True)
    return GenerationReport(
        len(names),
        limit,
        conduct(reference, reference, gaps),
        conduct(artifact, reference, gaps),
        conduct(control, reference, gaps),
        tuple(reasons),
        (f"generation: results differ from the reference's: {changed}",) if changed else (),
        tuple(_continuation(name, own, gap, reply) for name, own, gap, reply in pairs),
    )


def significantly_more(theirs: Sequence[bool], usual: Sequence[bool]) -> str:
    """What to say where `theirs` has more than chance gives it beside `usual`; else nothing."""
    alone = sum(a and not b for a, b in zip(theirs, usual, strict=True))
    other = sum(b and not a for a, b in zip(theirs, usual, strict=True))
    if sign_test(alone, other) > SIGNIFICANCE:
        return ""
    return f"{sum(theirs)} of {len(theirs)} prompts, {sum(usual)} with rounding alone"


def sign_test(more: int, fewer: int) -> float:
    """The chance of `more` or more of all heads where a coin decides each (McNemar, exact)."""
    total = more + fewer
    return sum(comb(total, k) for k in range(more, total + 1)) / float(2**total)


def conduct(
    replies: Sequence[Reply], reference: Sequence[Reply], gaps: Sequence[Sequence[float]]
) -> Conduct:
    pairs = list(zip(replies, reference, strict=True))
    apart = [
        (at, gap) for (a, b), g in zip(pairs, gaps, strict=True) for at, gap in _apart(a, b, g)
    ]
    written = sum(len(own.tokens) for own in reference)
    return Conduct(
        same_text=len(pairs) - len(apart),
        same_result=sum(a.result == b.result for a, b in pairs),
        diverged=len(apart),
        certain=sum(gap > HARD_GAP for _, gap in apart),
        first_divergence=median(at for at, _ in apart) if apart else None,
        gap=median(gap for _, gap in apart) if apart else None,
        unclosed=sum(reply.unclosed for reply in replies),
        loops=sum(reply.loops for reply in replies),
        broken_calls=sum(reply.broken_calls > 0 for reply in replies),
        no_answer=sum(not reply.result for reply in replies),
        missed=sum(_missed(a, b) for a, b in pairs),
        cut_off=sum(not reply.stopped for reply in replies),
        length_ratio=sum(len(reply.tokens) for reply in replies) / max(written, 1),
    )


def _apart(reply: Reply, own: Reply, gaps: Sequence[float]) -> list[tuple[int, float]]:
    """Where the texts part and the reference's gap there; nothing where they are the same."""
    if reply.tokens == own.tokens:
        return []
    pairs = zip(reply.tokens, own.tokens, strict=False)
    shorter = min(len(reply.tokens), len(own.tokens))
    at = next((i for i, (a, b) in enumerate(pairs) if a != b), shorter)
    return [(at, gaps[at] if at < len(gaps) else 0.0)]


def _missed(reply: Reply, own: Reply) -> bool:
    wanted = last_number(own.answer)
    return (
        wanted is not None
        and last_number(reply.thought) == wanted
        and last_number(reply.answer) != wanted
    )


def _continuation(name: str, own: Reply, gaps: Sequence[float], reply: Reply) -> Continuation:
    at, gap = next(iter(_apart(reply, own, gaps)), (None, None))
    return Continuation(
        name,
        len(reply.tokens),
        len(own.tokens),
        at,
        gap,
        reply.result == own.result,
        tuple(fault for fault, sign in FAULTS.items() if sign(reply, own)),
    )
