"""Documents to measure on: token ids, and the span that each token belongs to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeGuard

from edgepack.errors import DamagedInput, Missing
from edgepack.fidelity.spans import REPLY_ROLES, Message, Span, Tokenizer, chat_spans


@dataclass(frozen=True, slots=True)
class Document:
    """One sequence. `spans[i]` is the span of `ids[i]`, the token that position i - 1 predicts.

    So the logits at position i are scored under `spans[i + 1]`, and `spans[0]` scores nothing.
    """

    name: str
    ids: tuple[int, ...]
    spans: tuple[Span, ...]


def read_corpus(path: Path, tokenizer: Tokenizer) -> tuple[Document, ...]:
    """The documents of a JSONL file, one a line: {"messages": [...]} or {"text": "..."}.

    A message is {"role": "...", "content": "..."}; its content may also be a list of
    {"type": "text", "text": "..."}, or null in a reply that has tool_calls. The template gets it
    as it is, other keys included. Raises Missing without a file, DamagedInput naming file and line
    for anything else, Unsupported when the chat template leaves a reply out.
    """
    return tuple(_document(path, number, entry, tokenizer) for number, entry in read_entries(path))


def distinct(documents: Sequence[Document]) -> tuple[Document, ...]:
    """The first of every sequence of ids: what is measured twice is not known any better."""
    first: dict[tuple[int, ...], Document] = {}
    for document in documents:
        first.setdefault(document.ids, document)
    return tuple(first.values())


def corpus_digest(documents: Sequence[Document]) -> str:
    """sha256 of the documents' ids and spans, as they lie one after another; names do not count."""
    digest = sha256()
    for document in documents:
        digest.update(json.dumps([document.ids, document.spans]).encode())
    return digest.hexdigest()


def read_entries(path: Path) -> tuple[tuple[int, Any], ...]:
    """Number and value of every line of a JSONL file that is not empty. Raises as read_corpus."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError as error:
        raise Missing(f"{path} does not exist", "name a JSONL file of documents") from error
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise DamagedInput(f"{path} cannot be read: {reason}", "write it as UTF-8 JSONL") from error
    numbered = enumerate(lines, start=1)
    found = tuple((n, _entry(f"{path}, line {n}", line)) for n, line in numbered if line.strip())
    if not found:
        raise DamagedInput(f"{path} holds no documents", "write one JSON object a line")
    return found


def _entry(place: str, line: str) -> Any:
    try:
        return json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DamagedInput(f"{place}: not JSON: {error}", "write one JSON object a line") from error


def _document(path: Path, number: int, entry: Any, tokenizer: Tokenizer) -> Document:
    place = f"{path}, line {number}"
    text_span: Span = "text"
    match entry:
        case {"messages": messages} if _are_messages(messages):
            ids = tokenizer.encode(tokenizer.render(messages))
            spans = chat_spans(messages, ids, tokenizer)
        case {"text": str(text)}:
            ids = tokenizer.encode(text)
            spans = (text_span,) * len(ids)
        case _:
            hint = 'write {"messages": [{"role": "user", "content": "..."}]} or {"text": "..."}'
            raise DamagedInput(f"{place}: neither messages nor text", hint)
    if len(ids) < 2:
        raise DamagedInput(f"{place}: {len(ids)} tokens predict nothing")
    return Document(f"{path.name}:{number}", tuple(ids), spans)


def _are_messages(value: object) -> TypeGuard[list[Message]]:
    return isinstance(value, list) and bool(value) and all(map(_is_message, value))


def _is_message(value: object) -> bool:
    match value:
        case {"role": str(), "content": str()}:
            return True
        case {"role": str(), "content": [_, *_] as parts}:
            return all(map(_is_text, parts))
        case {"role": str(role), "content": None, "tool_calls": [_, *_]}:
            return role in REPLY_ROLES
        case _:
            return False


def _is_text(part: object) -> bool:
    match part:
        case {"type": "text", "text": str()}:
            return True
        case _:
            return False
