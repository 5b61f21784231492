"""What one written reply is worth: is its thinking closed, does it loop, does it answer.

Nothing is known of the task. A tool call is text between tool-call tags that has to be JSON; an
answer is the text outside of thinking, and its last number where it has one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, groupby
from typing import Final

from edgepack.fidelity.corpus import Document
from edgepack.fidelity.spans import Span, Tokenizer, reply_spans

NUMBER: Final = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
LONGEST_PERIOD: Final = 64  # tokens
REPEATS: Final = 4
LOOPED: Final = 16  # tokens that a loop has at least: "0000" is none


@dataclass(frozen=True, slots=True)
class Reply:
    """`answer` is "" where nothing follows the thinking; `calls` are texts of tool calls."""

    tokens: tuple[int, ...]
    stopped: bool
    thought: str
    answer: str
    calls: tuple[str, ...]
    unclosed: bool

    @property
    def loops(self) -> bool:
        """It never stopped, and ends in the same few tokens over and over."""
        return not self.stopped and loops(self.tokens)

    @property
    def broken_calls(self) -> int:
        return sum(not is_json(call) for call in self.calls)

    @property
    def result(self) -> str:
        """What it comes to: its calls, or the last number of its answer, or the answer."""
        if self.calls:
            return "\n".join(map(_canonical, self.calls))
        return last_number(self.answer) or self.answer.strip()


def prompt_of(document: Document) -> tuple[int, ...]:
    """The ids before its first reply, that reply's header among them; of plain text a quarter."""
    if document.spans[0] == "text":
        return document.ids[: max(1, len(document.ids) // 4)]
    written = (i for i, span in enumerate(document.spans) if span != "prompt")
    return document.ids[: next(written, len(document.ids))]


def read_reply(
    prompt: Sequence[int], tokens: Sequence[int], *, stopped: bool, tokenizer: Tokenizer
) -> Reply:
    """`tokens` written after `prompt`, cut into spans; a header may have opened the thinking."""
    begun = list(prompt[-1:])
    # one token more than there is tells what the text would go on with
    spans = reply_spans([*begun, *tokens, _ordinary(tokenizer)], tokenizer)[len(begun) :]
    parts: dict[Span, list[str]] = {"think": [], "answer": [], "tool_call": []}
    for span, run in groupby(zip(spans, tokens, strict=False), key=lambda pair: pair[0]):
        text = tokenizer.decode([token for _, token in run])
        if span in parts:
            parts[span].append(text)
    return Reply(
        tuple(tokens),
        stopped,
        "".join(parts["think"]),
        "".join(parts["answer"]),
        tuple(parts["tool_call"]),
        spans[-1] == "think",
    )


def _ordinary(tokenizer: Tokenizer) -> int:
    """A token that is no tag and no control token."""
    return next(i for i in count() if reply_spans([i], tokenizer) == ["answer"])


def loops(tokens: Sequence[int]) -> bool:
    """Whether the last tokens are one piece, of at most LONGEST_PERIOD, REPEATS times or more."""
    for period in range(1, min(LONGEST_PERIOD, len(tokens) // REPEATS) + 1):
        times = max(REPEATS, -(-LOOPED // period))
        tail = list(tokens[-period * times :])
        if len(tail) == period * times and tail[period:] == tail[:-period]:
            return True
    return False


def is_json(call: str) -> bool:
    """Whether a call is an object, or a list."""
    try:
        return isinstance(json.loads(call), dict | list)
    except (ValueError, RecursionError):
        return False


def last_number(text: str) -> str | None:
    found = NUMBER.findall(text)
    return found[-1].replace(",", "") if found else None


def _canonical(call: str) -> str:
    """So that white space and the order of keys make no difference."""
    return json.dumps(json.loads(call), sort_keys=True) if is_json(call) else call
