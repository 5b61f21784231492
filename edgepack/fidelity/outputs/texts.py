"""Texts to measure on, as a model known by its task gets them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from edgepack.errors import DamagedInput
from edgepack.fidelity.corpus import read_entries
from edgepack.models import Outline

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Feed = dict[str, NDArray[np.int64]]
PADDING: Final = 8
"""Masked tokens after every text: an export that forgets the mask then differs."""
_SENTENCE: Final = re.compile(r"(?<=[.!?。])\s")


@dataclass(frozen=True, slots=True)
class Text:
    """Token ids with the special ones, and the segment (0 or 1) of each."""

    name: str
    ids: tuple[int, ...]
    segments: tuple[int, ...]

    def feed(self, pad_id: int, longest: int) -> Feed:
        """The inputs by their names in transformers, [1, T + padding] each, within `longest`."""
        padding = min(PADDING, longest - len(self.ids))
        return {
            "input_ids": np.array([(*self.ids, *[pad_id] * padding)], np.int64),
            "attention_mask": np.array([[1] * len(self.ids) + [0] * padding], np.int64),
            "token_type_ids": np.array([(*self.segments, *[0] * padding)], np.int64),
        }


def open_tokenizer(root: Path) -> Tokenizer:
    """tokenizer.json as its library reads it. Raises DamagedInput."""
    from tokenizers import Tokenizer

    path = root / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise DamagedInput(f"{path}: {error}", "fetch tokenizer.json again") from error
    tokenizer.no_padding()
    return tokenizer


def read_texts(path: Path, tokenizer: Tokenizer, outline: Outline) -> tuple[Text, ...]:
    """The documents of a JSONL file, as fidelity.read_corpus reads them, truncated to the context.

    Messages become one text, in their order. A model that answers questions gets the first
    sentence of a text as the question, and the text as what answers it. Raises as read_corpus does.
    """
    tokenizer.enable_truncation(outline.context_length)
    encode = _pair(tokenizer) if outline.task == "question-answering" else tokenizer.encode
    return tuple(
        _text(f"{path.name}:{number}", encode(_content(f"{path}, line {number}", entry)))
        for number, entry in read_entries(path)
    )


def _pair(tokenizer: Tokenizer) -> Callable[[str], Any]:
    return lambda text: tokenizer.encode(_SENTENCE.split(text, maxsplit=1)[0], text)


def _text(name: str, encoded: Any) -> Text:
    if not encoded.ids:
        raise DamagedInput(f"{name}: it has no tokens", "write texts that are not empty")
    return Text(name, tuple(encoded.ids), tuple(encoded.type_ids))


def _content(place: str, entry: object) -> str:
    match entry:
        case {"text": str(text)}:
            return text
        case {"messages": [_, *_] as messages}:
            contents = [m.get("content") for m in messages if isinstance(m, dict)]
            return "\n".join(text for text in contents if isinstance(text, str))
        case _:
            raise DamagedInput(f"{place}: neither messages nor text", 'write {"text": "..."}')
