"""How an artifact says that text is written: chat template, special tokens, vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgepack.formats.gguf.inspection import read_parts
from edgepack.formats.gguf.metadata import TOKEN_KINDS
from edgepack.formats.gguf.values import Array
from edgepack.models.tokenizer import read_tokenizer

_SPECIAL: Final = {
    "bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"
}  # fmt: skip
_LISTS: Final = tuple(f"tokenizer.ggml.{name}" for name in ("tokens", "token_type", "merges"))
_KINDS: Final = {number: kind for kind, number in TOKEN_KINDS.items()}


@dataclass(frozen=True, slots=True)
class Dialect:
    """`template` is None where there is none; `special` as a template names them.

    `tokens` and `kinds` are the vocabulary in order of id, `merges` in rank order; each is empty
    where the artifact has none.
    """

    template: str | None
    special: Mapping[str, str]
    tokens: tuple[str, ...]
    kinds: tuple[str, ...] = ()
    merges: tuple[tuple[str, str], ...] = ()


def read_dialect(entry: Path, vocabulary: int) -> Dialect:
    """That of the artifact at `entry`, a GGUF or a file in a folder of tokenizer files.

    Raises as reading these does.
    """
    if entry.suffix == ".gguf":
        return _of_gguf(entry)
    found = read_tokenizer(entry.parent, vocabulary)
    return Dialect(found.chat_template, found.special, found.tokens, found.kinds, found.merges)


def _of_gguf(entry: Path) -> Dialect:
    values = read_parts(entry)[entry].values
    tokens, kinds, merges = (
        tuple(listed.elements()) if isinstance(listed, Array) else ()
        for listed in map(values.get, _LISTS)
    )
    tokens = tuple(map(str, tokens))
    ids = {name: values.get(f"tokenizer.ggml.{key}_token_id") for name, key in _SPECIAL.items()}
    template = values.get("tokenizer.chat_template")
    return Dialect(
        template if isinstance(template, str) else None,
        {n: tokens[i] for n, i in ids.items() if isinstance(i, int) and 0 <= i < len(tokens)},
        tokens,
        tuple(_KINDS.get(kind, f"kind {kind}") for kind in kinds),
        tuple(_pair(str(merge)) for merge in merges),
    )


def _pair(merge: str) -> tuple[str, str]:
    left, _, right = merge.partition(" ")
    return left, right
