"""Conversations by the checkpoint's chat template, and by the one that travels in the artifact.

Both are programs, rendered in the same sandbox; each text is split by the tokenizer beside its
template. A template that was rewritten, cut or lost on the way shows here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from edgepack.errors import DamagedInput
from edgepack.fidelity.checks import Check, verdict_of
from edgepack.fidelity.structure import first_difference
from edgepack.fidelity.texts import Splitter
from edgepack.models import chat

if TYPE_CHECKING:
    from edgepack.fidelity.spans import Message
    from edgepack.formats.dialect import Dialect
    from edgepack.models.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Conversation:
    """`options` are variables of the template beside the messages."""

    name: str
    messages: tuple[Message, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


def _said(role: str, content: str) -> Message:
    return {"role": role, "content": content}


_ASKED: Final = _said("user", "What is 2 + 2?")
_THOUGHT: Final = _said("assistant", "<think>\nTwo and two.\n</think>\n\nIt is 4.")
_SYSTEM: Final = _said("system", "You answer in one line.")
_TOOL: Final = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "Its name."}},
            "required": ["city"],
        },
    },
}
_CALL: Final[Message] = {
    "role": "assistant",
    "content": "",
    "tool_calls": [
        {
            "id": "call00001",
            "type": "function",
            "function": {"name": "weather", "arguments": {"city": "Łódź"}},
        }
    ],
}
_RESULT: Final[Message] = {
    "role": "tool", "name": "weather", "tool_call_id": "call00001", "content": '{"sky": "grey"}'
}  # fmt: skip
REFUSED: Final = "refused by both"
_OPEN: Final = {"add_generation_prompt": True}


def conversations() -> tuple[Conversation, ...]:
    """One turn and several, with and without system message, tools, a header to reply under,
    thinking on and off."""
    turns = (_ASKED, _THOUGHT, _said("user", "And 2 + 3?"), _said("assistant", "It is 5."))
    made = [
        Conversation("one turn", (_ASKED,), _OPEN),
        Conversation("one turn, answered", turns[:2]),
        Conversation("several turns", turns),
        Conversation("several turns, open", turns[:3], _OPEN),
        Conversation("system", (_SYSTEM, *turns), {}),
        Conversation("tools", (_ASKED,), {"tools": [_TOOL], **_OPEN}),
        Conversation("system and tools", (_SYSTEM, _ASKED), {"tools": [_TOOL], **_OPEN}),
        Conversation("a call", (_ASKED, _CALL, _RESULT), {"tools": [_TOOL], **_OPEN}),
        Conversation("two users in a row", (_ASKED, _ASKED), _OPEN),
        Conversation("white space", (_said("user", "  a \n\n"), _said("assistant", " b\n")), {}),
    ]
    for thinking in (True, False):
        asked = {"enable_thinking": thinking, "thinking": thinking, **_OPEN}
        name = f"thinking {'on' if thinking else 'off'}"
        made += [Conversation(name, (_ASKED,), asked)]
        made += [Conversation(f"{name}, several turns", turns[:3], asked)]
    return tuple(made)


def template_check(runtime: Splitter, tokenizer: Tokenizer, stored: Dialect) -> Check:
    """Whether every conversation becomes the same ids in both worlds.

    A template may refuse a conversation: then the other one has to refuse it as well. Where both
    refuse all of them, nothing was compared.
    """
    name = "chat template"
    if tokenizer.chat_template is None:
        has = "has one" if stored.template else "has none either"
        return Check(name, None, f"the checkpoint has no chat template, the artifact {has}")
    if stored.template is None:
        return Check(name, False, "the checkpoint has a chat template, the artifact has none")
    held = conversations()
    found = [_difference(runtime, tokenizer, stored, each) for each in held]
    refused = found.count(REFUSED)
    same = "is the same text" if stored.template == tokenizer.chat_template else "is another text"
    if refused == len(held):
        return Check(name, None, f"{same}; both refuse all {refused} conversations")
    told = f"{same}; {len(held) - refused} conversations give the same ids"
    told += f", both refuse {refused}" if refused else ""
    return verdict_of(name, [each for each in found if each and each != REFUSED], told)


def _difference(
    runtime: Splitter, tokenizer: Tokenizer, stored: Dialect, of: Conversation
) -> str | None:
    """What differs, None where nothing does, REFUSED where neither template takes it."""
    assert tokenizer.chat_template is not None
    assert stored.template is not None
    own = _rendered(tokenizer.chat_template, of, tokenizer.special)
    theirs = _rendered(stored.template, of, stored.special)
    if own is None or theirs is None:
        refusing = "checkpoint" if own is None else "artifact"
        return f"'{of.name}' is refused by the {refusing}'s alone" if own != theirs else REFUSED
    if own != theirs:
        at = next((i for i, (a, b) in enumerate(zip(own, theirs, strict=False)) if a != b), None)
        at = min(len(own), len(theirs)) if at is None else at
        return f"'{of.name}' reads {theirs[at : at + 24]!r} where expected {own[at : at + 24]!r}"
    expected, found = tokenizer.encode(own), runtime.tokenize(theirs)
    if expected == found:
        return None
    return f"'{of.name}' is the same text and splits {first_difference(expected, found)}"


def _rendered(template: str, of: Conversation, special: Mapping[str, str]) -> str | None:
    try:
        return chat.render(template, of.messages, {**special, **of.options})
    except DamagedInput:
        return None
