"""Spans of replies under chat templates that share nothing but having replies."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from edgepack.errors import DamagedInput, Unsupported
from edgepack.fidelity.spans import chat_spans

Messages = Sequence[Mapping[str, Any]]


def angled(messages: Messages) -> str:
    return "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages)


def bracketed(messages: Messages) -> str:
    """A user turn in brackets, a reply after a space, no header, one token that ends it."""
    return "".join(
        f"[INST] {m['content']} [/INST]" if m["role"] == "user" else f" {m['content'].strip()}</s>"
        for m in messages
    )


def thinking_header(messages: Messages) -> str:
    """The header of the last reply opens the thinking; earlier replies lose theirs."""
    text = ""
    for index, message in enumerate(messages):
        content = message["content"]
        if message["role"] == "user":
            text += f"<|user|>{content}"
        elif index == len(messages) - 1:
            text += "<|bot|><think>\n" + content.removeprefix("<think>\n") + "<|end|>"
        else:
            text += "<|bot|>" + content.split("</think>")[-1] + "<|end|>"
    return text


def plain(messages: Messages) -> str:
    """No control token anywhere."""
    return "".join(f"### {m['role']}: {m['content']}\n\n" for m in messages)


def counting(messages: Messages) -> str:
    """Rewrites what came before: the number of messages stands in front."""
    return f"{len(messages)} messages\n" + angled(messages)


@dataclass(frozen=True)
class Letters:
    """One token a letter, one a control token, and one for two newlines in a row."""

    template: Callable[[Messages], str]
    control: tuple[str, ...] = (
        "<|im_start|>",
        "<|im_end|>",
        "</s>",
        "<|user|>",
        "<|bot|>",
        "<|end|>",
    )
    tags: tuple[str, ...] = ("<think>", "</think>", "<tool_call>", "</tool_call>", "[TOOL_CALLS]")

    @property
    def control_ids(self) -> frozenset[int]:
        return frozenset(range(len(self.control)))

    def encode(self, text: str) -> list[int]:
        pieces = "|".join(map(re.escape, self.control + self.tags))
        found = re.findall(f"{pieces}|\n\n|.|\n", text)
        return [self._id(piece) for piece in found]

    def render(self, messages: Messages) -> str:
        return self.template(messages)

    def id_of(self, text: str) -> int | None:
        known = self.control + self.tags
        return known.index(text) if text in known else None

    def text_of(self, token_id: int) -> str:
        known = self.control + self.tags
        if token_id < len(known):
            return known[token_id]
        return "\n\n" if token_id == 99 else chr(token_id - 100)

    def _id(self, piece: str) -> int:
        known = self.id_of(piece)
        if known is not None:
            return known
        return 99 if piece == "\n\n" else 100 + ord(piece)


def spelled(template: Callable[[Messages], str], *turns: str) -> list[tuple[str, str]]:
    """Runs of equal spans, as (span, text); turns alternate, the user first."""
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": turn} for i, turn in enumerate(turns)]
    tokenizer = Letters(template)
    ids = tokenizer.encode(template(messages))
    runs: list[tuple[str, str]] = []
    for token, span in zip(ids, chat_spans(messages, ids, tokenizer), strict=True):
        text = tokenizer.text_of(token)
        if runs and runs[-1][0] == span:
            runs[-1] = (span, runs[-1][1] + text)
        else:
            runs.append((span, text))
    return runs


def test_thinking_and_answer():
    assert spelled(angled, "47+9?", "<think>\n13\n</think>\n56.") == [
        ("prompt", "<|im_start|>user\n47+9?<|im_end|>\n<|im_start|>assistant\n"),
        ("control", "<think>"),
        ("think", "\n13\n"),
        ("control", "</think>"),
        ("answer", "\n56."),
        ("control", "<|im_end|>"),
        ("prompt", "\n"),
    ]


def test_tool_call():
    assert spelled(angled, "sum", 'Yes.<tool_call>{"a":1}</tool_call>')[1:-1] == [
        ("answer", "Yes."),
        ("control", "<tool_call>"),
        ("tool_call", '{"a":1}'),
        ("control", "</tool_call><|im_end|>"),
    ]


def test_tags_in_the_prompt_are_prompt():
    runs = spelled(angled, "write <tool_call> and <think>", "ok")
    assert [span for span, _ in runs] == ["prompt", "answer", "control", "prompt"]


def test_several_replies():
    runs = spelled(angled, "a", "b", "c", "d")
    assert [text for span, text in runs if span == "answer"] == ["b", "d"]
    assert [text for span, text in runs if span == "control"] == ["<|im_end|>", "<|im_end|>"]


def test_a_template_without_a_header():
    assert spelled(bracketed, "hi", "  hello") == [
        ("prompt", "[INST] hi [/INST] "),
        ("answer", "hello"),
        ("control", "</s>"),
    ]


def test_a_tag_that_nothing_closes_lasts_to_the_end_of_the_reply():
    runs = spelled(bracketed, "hi", '[TOOL_CALLS]{"a":1}', "so", "done")
    assert ("tool_call", '{"a":1}') in runs
    assert ("answer", "done") in runs


def test_a_header_that_opens_thinking_leaves_the_thinking_to_the_reply():
    runs = spelled(thinking_header, "q", "<think>\nhm</think>a", "r", "<think>\nso</think>b")
    assert runs == [
        ("prompt", "<|user|>q<|bot|>"),
        ("answer", "a"),
        ("control", "<|end|>"),
        ("prompt", "<|user|>r<|bot|>"),
        ("control", "<think>"),
        ("think", "\nso"),
        ("control", "</think>"),
        ("answer", "b"),
        ("control", "<|end|>"),
    ]


def test_a_template_without_control_tokens():
    assert spelled(plain, "q", "a") == [
        ("prompt", "### user: q\n\n### assistant: "),
        ("answer", "a"),
        ("prompt", "\n\n"),
    ]


def test_a_token_across_the_end_of_a_reply_belongs_to_what_follows():
    runs = spelled(angled, "\n", "\n")  # the header's newline and the reply's are one token
    assert runs[1] == ("answer", "\n\n")


def test_a_conversation_without_replies_is_prompt():
    assert {span for span, _ in spelled(angled, "only a question")} == {"prompt"}


def test_a_reply_that_comes_first_and_an_empty_one():
    messages = [{"role": "assistant", "content": "hi"}, {"role": "assistant", "content": ""}]
    tokenizer = Letters(angled)
    ids = tokenizer.encode(angled(messages))
    spans = chat_spans(messages, ids, tokenizer)
    assert spans.count("answer") == 2
    assert spans.count("control") == 2


def test_a_template_that_rewrites_the_past():
    runs = spelled(counting, "a", "b", "c", "d")
    assert [text for span, text in runs if span == "answer"] == ["b", "d"]


def test_white_space_before_the_token_that_ends_a_reply_is_the_models():
    def spaced(messages: Messages) -> str:
        return bracketed(messages).replace("</s>", " </s>")

    assert spelled(spaced, "q", "a", "r", "b")[1:3] == [("answer", "a "), ("control", "</s>")]


def test_a_template_that_leaves_a_reply_out_is_refused():
    def users(messages: Messages) -> str:
        return "".join(m["content"] for m in messages if m["role"] == "user")

    with pytest.raises(Unsupported, match="message 2"):
        spelled(users, "question", "answer")


def calling(messages: Messages) -> str:
    """A call after what is said, as templates of the Hermes kind write it."""

    def call(name: str) -> str:
        return f"<tool_call>\n{name}\n</tool_call>"

    said = (
        {**m, "content": (m["content"] or "") + "".join(map(call, m.get("tool_calls", [])))}
        for m in messages
    )
    return angled(list(said))


@pytest.mark.parametrize("content", [None, "", "Let me see."])
def test_what_a_reply_calls_is_the_models(content):
    messages = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": content, "tool_calls": ["sum"]},
        {"role": "tool", "content": "3"},
    ]
    tokenizer = Letters(calling)
    ids = tokenizer.encode(calling(messages))
    spans = chat_spans(messages, ids, tokenizer)
    assert spans.count("answer") == len(content or "")
    assert spans.count("tool_call") == len("\nsum\n")
    assert spans.count("control") == 3  # both tags and the end of the turn


def test_a_template_that_must_see_the_calls_is_refused():
    def strict(messages: Messages) -> str:
        if any(m["role"] == "assistant" and "tool_calls" not in m for m in messages):
            raise DamagedInput("roles must alternate")
        return calling(messages)

    messages = [{"role": "assistant", "content": None, "tool_calls": ["sum"]}]
    tokenizer = Letters(strict)
    with pytest.raises(Unsupported, match="calls of message 1"):
        chat_spans(messages, tokenizer.encode(strict(messages)), tokenizer)
