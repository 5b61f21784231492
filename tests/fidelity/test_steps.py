"""Steps of a trace in the fixture's own format, with damage put where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepack.fidelity import read_corpus
from edgepack.fidelity.corpus import Document
from edgepack.fidelity.metrics import TokenScores, score
from edgepack.fidelity.steps import cut_steps, step_report
from edgepack.models import open_checkpoint


def pieces(*texts):
    return ["".join(texts[step]) for step in cut_steps(texts)]


def test_a_newline_ends_a_step():
    assert pieces("\n", "1+2", "=3", "\n", "3+4", "\n") == ["\n1+2=3\n", "3+4\n"]
    assert pieces("a", "\n\n", "b", "\n", "\n", "c") == ["a\n\n", "b\n\n", "c"]
    assert pieces("a", " b\nc", "d") == ["a b\nc", "d"]
    assert pieces("a", "<0x0A>", "b") == ["a<0x0A>", "b"]
    assert pieces("\n", "\n") == ["\n\n"]
    assert pieces("one") == ["one"]


@given(st.lists(st.sampled_from(["a", "\n", " ", "b\n", "\n\n"]), min_size=1))
def test_steps_hold_every_token_once_and_none_is_blank(texts):
    steps = cut_steps(texts)
    assert [text for step in steps for text in texts[step]] == texts
    if "".join(texts).strip():
        assert all("".join(texts[step]).strip() for step in steps)


@pytest.fixture(scope="module")
def tokenizer(reasoner):
    return open_checkpoint(str(reasoner)).tokenizer


@pytest.fixture(scope="module")
def documents(reasoner, tokenizer):
    """Four traces, and what the fixture says without one."""
    every = read_corpus(reasoner / "eval.jsonl", tokenizer)
    thinking = [d for d in every if "think" in d.spans][:4]
    return (*thinking, next(d for d in every if "think" not in d.spans))


VOCABULARY = 339


def scored(documents, damage):
    """A reference that is sure of every token, and a candidate that is not at `damage`: for each
    (document, position) the token that it prefers, None for a logit that is not finite."""
    parts = []
    for index, document in enumerate(documents):
        rows = np.arange(len(document.ids) - 1)
        reference = np.zeros((len(document.ids), VOCABULARY), np.float32)
        reference[rows, document.ids[1:]] = 12
        candidate = reference.copy()
        for (at, position), token in damage.items():
            if at == index:
                candidate[position - 1] = np.nan if token is None else 0
                candidate[position - 1, token or 0] = np.nan if token is None else 12
        parts.append(score(reference, candidate, document, index))
    return TokenScores.concatenate(parts)


def place(document, tokenizer, step, offset=2):
    """Position of a token in the step with this number, as the text's lines have them."""
    at = document.spans.index("think")
    seen = 0
    for position in range(at + 1, len(document.ids)):  # the first token is the tag's newline
        if seen == step:
            return position + offset
        seen += "\n" in tokenizer.text_of(document.ids[position])
    raise AssertionError(step)


def test_steps_of_the_fixture(documents, tokenizer):
    found = step_report(scored(documents, {}), documents, tokenizer.text_of)
    lines = []
    for document in documents[:4]:
        text = tokenizer.decode(document.ids)
        inside = text.split("<think>")[1].split("</think>")[0]
        lines.append(inside.strip("\n").split("\n"))
    assert found.traces == 4
    assert found.steps == sum(map(len, lines))
    assert [s.steps for s in found.by_index] == [
        sum(len(trace) > n for trace in lines) for n in range(max(map(len, lines)))
    ]
    assert (found.damaged_traces, found.damaged_steps, found.first_damaged) == (0, 0, ())
    assert found.kl_max == 0


def test_the_first_damaged_step_of_each_trace(documents, tokenizer):
    first = place(documents[0], tokenizer, 1)
    later = place(documents[0], tokenizer, 2)
    other = place(documents[2], tokenizer, 0)
    (wrong,) = (
        tokenizer.encode("7")
        if documents[0].ids[first] != tokenizer.encode("7")[0]
        else (tokenizer.encode("8"))
    )
    damage = {(0, later): wrong, (0, first): wrong, (2, other): None}
    found = step_report(scored(documents, damage), documents, tokenizer.text_of)
    assert (found.damaged_traces, found.damaged_steps) == (2, 3)
    step, silent = found.first_damaged
    assert (step.document, step.step, step.position) == (documents[0].name, 1, first)
    assert (step.hard_flips, step.broken) == (1, 1)
    line = tokenizer.decode(documents[0].ids).split("<think>\n")[1].split("\n")[1]
    assert step.text.strip("\n") == line
    assert step.expected_text == tokenizer.text_of(documents[0].ids[first])
    assert step.candidate_text == tokenizer.text_of(wrong)
    assert step.kl_max == pytest.approx(12, rel=0.05)
    assert step.kl_mean == pytest.approx(step.kl_max / step.tokens)
    assert (silent.document, silent.step, silent.position) == (documents[2].name, 0, other)
    assert [s.first_damaged for s in found.by_index[:3]] == [1, 1, 0]
    assert [s.damaged for s in found.by_index[:3]] == [1, 1, 1]


def test_two_replies_are_two_traces():
    spans = ("prompt", "think", "think", "control", "answer", "prompt", "think", "think")
    document = Document("d", (0,) * 8, spans)
    found = step_report(scored([document], {}), [document], lambda _: "x")
    assert (found.traces, found.steps) == (2, 2)


def test_nothing_that_thinks_has_no_steps(documents):
    assert step_report(scored(documents[4:], {}), documents[4:], lambda _: "") is None


def test_steps_of_very_long_traces_are_summed_up_at_the_end():
    document = Document("d", (1, *(0, 2) * 40), ("prompt", *("think",) * 80))
    report = step_report(
        scored([document], {(0, 79): 5}), [document], lambda i: "\n" if i == 2 else "x"
    )
    assert (report.steps, len(report.by_index)) == (40, 32)
    assert report.by_index[-1].steps == 40 - 31
    assert report.by_index[-1].first_damaged == 1
    assert report.first_damaged[0].step == 39
