"""Which part of a conversation each token belongs to, found without knowing the chat template.

    prompt     everything up to and including the header of a reply, and what the template puts
               after the token that ends a reply: text the model never writes
    think      a reply's text between its thinking tags
    tool_call  a reply's text between its tool-call tags
    control    a reply's control tokens: the tags themselves, the end of the turn
    answer     the rest of a reply
    text       all of a document that is plain text: it has no roles

A reply is found by rendering the conversation twice more, with two different stand-ins for it:
what all renderings share ends, in front, with the reply's header, and begins again with what
closes it. No role marker is known by name. A token that reaches across the start or the end of a
reply counts with what follows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, Protocol, get_args

from edgepack.errors import DamagedInput, Unsupported

Span = Literal["prompt", "think", "answer", "tool_call", "control", "text"]
SPANS: Final[tuple[Span, ...]] = get_args(Span)

# "role" is a string; "content" too, or a list of {"type": "text", "text": ...}, or None beside
# "tool_calls". Other keys are between the corpus and the template.
Message = Mapping[str, Any]

# Spellings in use. A tag counts when it is one token of the vocabulary; a tag that nothing closes
# lasts until the reply ends.
_TAGS: Final[tuple[tuple[Span, str, str], ...]] = (
    ("think", "<think>", "</think>"),
    ("think", "<thinking>", "</thinking>"),
    ("think", "<thought>", "</thought>"),
    ("think", "<reasoning>", "</reasoning>"),
    ("think", "[THINK]", "[/THINK]"),
    ("think", "<|begin_of_thought|>", "<|end_of_thought|>"),
    ("tool_call", "<tool_call>", "</tool_call>"),
    ("tool_call", "<|tool_call|>", "<|/tool_call|>"),
    ("tool_call", "<|tool_call_start|>", "<|tool_call_end|>"),
    ("tool_call", "<|tool_call_begin|>", "<|tool_call_end|>"),
    ("tool_call", "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"),
    ("tool_call", "[TOOL_CALLS]", ""),
    ("tool_call", "<|python_tag|>", ""),
)
# The roles that chat templates give to what the model itself writes.
REPLY_ROLES: Final = frozenset({"assistant", "model"})
# Two replies with no first and no last letter in common.
_STAND_INS: Final = ("ab", "cd")


class Tokenizer(Protocol):
    """What segmenting a document needs of a tokenizer."""

    @property
    def control_ids(self) -> frozenset[int]: ...

    def encode(self, text: str, /) -> list[int]:
        """Ids of `text`: control tokens written in it are parsed, none are added."""
        ...

    def render(self, messages: Sequence[Message], /) -> str:
        """The conversation by the chat template, without a header for a further reply."""
        ...

    def id_of(self, text: str, /) -> int | None:
        """The id of the token spelled `text`, if there is one."""
        ...

    def text_of(self, token_id: int, /) -> str:
        """What one token looks like to a reader."""
        ...

    def decode(self, ids: Sequence[int], /) -> str:
        """The text of `ids`, control tokens spelled out."""
        ...


def chat_spans(
    messages: Sequence[Message], ids: Sequence[int], tokenizer: Tokenizer
) -> tuple[Span, ...]:
    """The span of each token of `ids`, the rendered and encoded conversation.

    Raises Unsupported when the template leaves a reply out.
    """
    text = tokenizer.render(messages)
    tags, control = _tags(tokenizer), tokenizer.control_ids
    spans: list[Span] = ["prompt"] * len(ids)
    for index, message in enumerate(messages):
        if message["role"] not in REPLY_ROLES:
            continue
        start, end = _extent(messages, index, text, tokenizer)
        if start > end:
            hint = "leave such messages out of the corpus"
            raise Unsupported(f"the chat template does not show message {index + 1}", hint)
        head = _extent(messages, index - 1, text, tokenizer)[1] if index else 0
        head, first, last = (
            _shared(tokenizer.encode(text[:offset]), ids) for offset in (head, start, end)
        )
        # A header that opens a thinking tag ends there: it is the model that thinks.
        first = next((i for i in range(head, first) if ids[i] in tags), first)
        last = _closed(ids, last, control, tokenizer)
        spans[first:last] = _reply_spans(ids[first:last], tags, control)
    return tuple(spans)


def _extent(
    messages: Sequence[Message], index: int, text: str, tokenizer: Tokenizer
) -> tuple[int, int]:
    """Character offsets in `text`, the whole conversation, of one message's start and end.

    A message that is not in the text has its start behind its end.
    """
    before, message, after = messages[:index], messages[index], messages[index + 1 :]
    try:
        first, second = (
            tokenizer.render([*before, _saying(content, message), *after]) for content in _STAND_INS
        )
    except DamagedInput as error:
        if "tool_calls" not in message:
            raise
        raise Unsupported(
            f"the chat template shows no conversation without the calls of message {index + 1}",
            "leave such messages out of the corpus",
        ) from error
    end = len(text) - _shared(text[::-1], first[::-1], second[::-1])
    return _shared(text, first, second), end


def _saying(content: str, message: Message) -> Message:
    """`message` with `content` for all that it says; what it calls is as much its own text."""
    parts = isinstance(message.get("content"), list)
    said = [{"type": "text", "text": content}] if parts else content
    return {key: value for key, value in message.items() if key != "tool_calls"} | {"content": said}


def _closed(ids: Sequence[int], end: int, control: frozenset[int], tokenizer: Tokenizer) -> int:
    """`end` of a reply, moved behind the control token, after white space or none, that ends it."""
    for index in range(end, len(ids)):
        if ids[index] in control:
            return index + 1
        if tokenizer.text_of(ids[index]).strip():
            break
    return end


def _tags(tokenizer: Tokenizer) -> dict[int, Span]:
    """Tag id -> the span that begins after it: a closing tag leads back to `answer`."""
    tags: dict[int, Span] = {}
    for span, opening, closing in _TAGS:
        opened = tokenizer.id_of(opening)
        if opened is None:
            continue
        tags[opened] = span
        closed = tokenizer.id_of(closing) if closing else None
        if closed is not None:
            tags[closed] = "answer"
    return tags


def reply_spans(ids: Sequence[int], tokenizer: Tokenizer) -> list[Span]:
    """Spans of tokens that are all a reply's, as its tags have them."""
    return _reply_spans(ids, _tags(tokenizer), tokenizer.control_ids)


def _reply_spans(
    ids: Sequence[int], tags: Mapping[int, Span], control: frozenset[int]
) -> list[Span]:
    """Spans of a reply's tokens. A tag is a control token, whatever the tokenizer calls it."""
    spans: list[Span] = []
    current: Span = "answer"
    for token in ids:
        current = tags.get(token, current)
        marks = token in tags or token in control
        spans.append("control" if marks else current)
    return spans


def _shared(*sequences: Sequence[object]) -> int:
    """How many leading items all the sequences share."""
    for count, items in enumerate(zip(*sequences, strict=False)):
        if any(item != items[0] for item in items):
            return count
    return min(len(sequence) for sequence in sequences)
