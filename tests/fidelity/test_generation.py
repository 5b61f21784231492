"""What a reply is worth, and when replies fail an artifact: every figure by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgepack.fidelity.generation import compare, sign_test, significantly_more
from edgepack.fidelity.replies import (
    Reply,
    is_json,
    last_number,
    loops,
    prompt_of,
    read_reply,
)
from edgepack.models import open_checkpoint
from edgepack.pipeline.validate import read_corpus


@pytest.fixture(scope="module")
def tokenizer(reasoner):
    return open_checkpoint(str(reasoner)).tokenizer


def reply(tokenizer, text, prompt="<|im_start|>assistant\n", *, stopped=True):
    ids = tokenizer.encode(text)
    return read_reply(tokenizer.encode(prompt), ids, stopped=stopped, tokenizer=tokenizer)


def test_a_whole_reply(tokenizer):
    found = reply(tokenizer, "<think>\n1+2=3\n</think>\nThe answer is 1,003.<|im_end|>")
    assert found.thought == "\n1+2=3\n"
    assert found.answer == "\nThe answer is 1,003."
    assert (found.unclosed, found.calls, found.result) == (False, (), "1003")


def test_thinking_that_never_closes(tokenizer):
    assert reply(tokenizer, "<think>\n1+2=").unclosed
    assert reply(tokenizer, "<think>\n1+2=3<|im_end|>").unclosed
    assert not reply(tokenizer, "</think>3").unclosed
    opened = reply(tokenizer, "1+2=3</think>3", "<|im_start|>assistant\n<think>")
    assert (opened.thought, opened.answer, opened.unclosed) == ("1+2=3", "3", False)
    assert reply(tokenizer, "1+2=3", "<|im_start|>assistant\n<think>").unclosed


def test_tool_calls(tokenizer):
    good = reply(tokenizer, '<tool_call>{"name": "f", "arguments": {"b": 1}}</tool_call>')
    assert good.calls == ('{"name": "f", "arguments": {"b": 1}}',)
    assert good.broken_calls == 0
    assert reply(tokenizer, '<tool_call>{"name":"f"</tool_call>').broken_calls == 1
    other = reply(tokenizer, '<tool_call>{"arguments":{"b":1},"name":"f"}</tool_call>')
    assert other.result == good.result
    assert [is_json(text) for text in ("[1]", "{}", "1", "", "{" * 99999)] == [
        True, True, False, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("tokens", "found"),
    [
        (list(range(40)) + [7] * 16, True),
        ([7] * 15, False),  # "0000000" may be meant
        ([1, 2, 3, 4, 5] * 4, True),
        ([1, 2, 3, 4, 5] * 3, False),
        ([9, 9, *[1, 2, 3, 4, 5] * 4, 1], True),  # broken off within the piece
        (list(range(60)), False),
        ([], False),
    ],
)
def test_loops(tokens, found):
    assert loops(tokens) is found


def test_the_last_number():
    assert last_number("from -3 to 1,234.5.") == "1234.5"
    assert last_number("none") is None


def test_prompts_end_with_the_header_of_a_reply(tokenizer, reasoner):
    documents = read_corpus(open_checkpoint(str(reasoner)), None).documents
    text = tokenizer.decode(prompt_of(documents[0]))
    assert text == (
        "<|im_start|>user\nwhat is 993+2139+46845+81?<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize(
    ("more", "fewer", "chance"), [(5, 0, 1 / 32), (4, 0, 1 / 16), (0, 0, 1.0), (3, 1, 5 / 16)]
)
def test_the_sign_test(more, fewer, chance):
    assert sign_test(more, fewer) == chance


def test_only_what_is_beyond_chance_is_told():
    assert significantly_more([True] * 4 + [False] * 6, [False] * 10) == ""
    told = significantly_more([True] * 5 + [False] * 5, [False] * 9 + [True])
    assert told == ""  # five against one
    told = significantly_more([True] * 7 + [False] * 3, [True] * 2 + [False] * 8)
    assert told == "7 of 10 prompts, 2 with rounding alone"


GOOD = Reply((1, 2, 3, 4), True, "so 7", "it is 7", (), False)
OPEN = replace(GOOD, tokens=(1, 2, 9), stopped=False, answer="", unclosed=True)
OTHER = replace(GOOD, tokens=(1, 2, 3, 5), answer="it is 8")


def report(artifact, control):
    names = [f"d:{n}" for n in range(len(artifact))]
    gaps = [(4.0, 3.0, 2.0, 0.5)] * len(names)
    return compare(names, [GOOD] * len(names), gaps, artifact, control, 64)


def test_equal_replies_are_no_fault():
    found = report([GOOD] * 6, [GOOD] * 6)
    assert (found.reasons, found.notes) == ((), ())
    assert found.artifact == found.control == found.reference
    assert found.artifact.same_text == 6
    assert (found.artifact.diverged, found.artifact.first_divergence) == (0, None)
    assert found.continuations[0].diverged is None


def test_faults_that_the_control_has_not_fail():
    found = report([OPEN] * 5 + [GOOD], [GOOD] * 6)
    assert found.reasons == (
        "generation: thinking is not closed: 5 of 6 prompts, 0 with rounding alone",
        "generation: no answer: 5 of 6 prompts, 0 with rounding alone",
    )
    assert (found.artifact.unclosed, found.artifact.certain, found.artifact.gap) == (5, 5, 2.0)
    assert found.artifact.first_divergence == 2
    assert found.artifact.missed == 5
    assert found.artifact.length_ratio == pytest.approx((5 * 3 + 4) / 24)
    assert found.continuations[0].faults == ("thinking is not closed", "no answer")


def test_faults_that_noise_has_too_fail_nothing():
    assert report([OPEN] * 5 + [GOOD], [OPEN] * 5 + [GOOD]).reasons == ()
    assert report([OPEN] * 4 + [GOOD] * 2, [GOOD] * 6).reasons == ()


def test_other_results_are_a_note():
    found = report([OTHER] * 6, [GOOD] * 6)
    assert found.reasons == ()
    assert found.notes == (
        "generation: results differ from the reference's: 6 of 6 prompts, 0 with rounding alone",
    )
    assert (found.artifact.same_result, found.artifact.certain) == (0, 0)
