"""`Tokenizer`: what tokenizer.json and tokenizer_config.json say, for every reader in the house."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgepack.errors import DamagedInput, Unsupported
from edgepack.models import chat
from edgepack.models.config import read_json
from edgepack.models.pretokenizers import adds_space_prefix, is_byte_level, pre_tokenizer_name

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

TokenKind = Literal["normal", "unknown", "control", "user_defined", "unused", "byte"]


@dataclass(frozen=True)
class Tokenizer:
    """A vocabulary as long as the embedding has rows, and how text becomes its ids.

    `scheme` is "byte-level" BPE, or "metaspace" BPE (SentencePiece's, with byte fallback).
    `merges` are in rank order. `pre` is llama.cpp's name of the splitting rules; None for
    metaspace, which has none. `add_bos` and `add_eos` say what an encoder adds by itself.
    """

    path: Path
    scheme: Literal["byte-level", "metaspace"]
    tokens: tuple[str, ...]
    kinds: tuple[TokenKind, ...]
    merges: tuple[tuple[str, str], ...]
    pre: str | None
    bos_id: int | None
    eos_id: int | None
    unknown_id: int | None
    pad_id: int | None
    add_bos: bool
    add_eos: bool
    add_space_prefix: bool
    chat_template: str | None
    special: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def _ids(self) -> Mapping[str, int]:
        return {token: index for index, token in enumerate(self.tokens)}

    @cached_property
    def _backend(self) -> Backend:
        return _load(self.path)

    @property
    def control_ids(self) -> frozenset[int]:
        return frozenset(i for i, kind in enumerate(self.kinds) if kind == "control")

    def encode(self, text: str) -> list[int]:
        """Token ids; control tokens in the text are parsed, none is added."""
        try:
            ids: list[int] = self._backend.encode(text, add_special_tokens=False).ids
        except TypeError as error:  # a lone surrogate, which JSON can spell and UTF-8 cannot
            raise DamagedInput(
                f"text is not Unicode: {text[:40]!r}", "remove the lone surrogate"
            ) from error
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        text: str = self._backend.decode(list(ids), skip_special_tokens=False)
        return text

    def id_of(self, token: str) -> int | None:
        return self._ids.get(token)

    def text_of(self, token_id: int) -> str:
        """One token as readable text, its name where it is not text by itself."""
        if self.kinds[token_id] != "normal":
            return self.tokens[token_id]
        return self.decode([token_id])

    def render(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """The conversation in this model's chat format.

        Raises Unsupported where the checkpoint has no chat template.
        """
        if self.chat_template is None:
            raise Unsupported(
                f"{self.path.parent}: there is no chat template",
                'give a corpus of {"text": ...} lines',
            )
        return chat.render(self.chat_template, messages, variables=self.special)


def read_tokenizer(root: Path, vocabulary: int) -> Tokenizer:
    """The tokenizer of a checkpoint folder, padded with unused tokens to `vocabulary` rows.

    Raises Missing, DamagedInput or Unsupported naming the file.
    """
    path = root / "tokenizer.json"
    raw = read_json(path)
    config_path = root / "tokenizer_config.json"
    config = read_json(config_path) if config_path.is_file() else {}
    model = raw.get("model")
    if not isinstance(model, dict) or model.get("type") != "BPE":
        kind = model.get("type") if isinstance(model, dict) else model
        raise Unsupported(f"{path}: tokenizer model is {kind!r}", "supported: BPE")
    backend = _load(path)  # it also checks the parts that are read below
    byte_level = is_byte_level(raw) or not model.get("byte_fallback")
    try:
        tokens, kinds = _tokens(raw, vocabulary, byte_level)
        merges = tuple(_pair(merge) for merge in model["merges"])
        _check_added(raw, backend)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedInput(f"{path}: {error}", "fetch tokenizer.json again") from error
    ids = {token: index for index, token in enumerate(tokens)}
    special = {
        name: text
        for name in ("bos_token", "eos_token", "unk_token", "pad_token")
        if (text := _content(config.get(name))) is not None
    }
    bos, eos = (
        ids.get(special[f"{name}_token"])
        if f"{name}_token" in special
        else _configured_id(root, f"{name}_token_id", vocabulary)
        for name in ("bos", "eos")
    )
    adds = _probe(path, backend)
    return Tokenizer(
        path=path,
        scheme="byte-level" if byte_level else "metaspace",
        tokens=tokens,
        kinds=kinds,
        merges=merges,
        pre=pre_tokenizer_name(str(path), raw) if byte_level else None,
        bos_id=bos,
        eos_id=eos,
        unknown_id=ids.get(model.get("unk_token") or ""),
        pad_id=ids.get(special.get("pad_token", "")),
        add_bos=bos is not None and adds[:1] == [bos],
        add_eos=eos is not None and adds[-1:] == [eos],
        add_space_prefix=not byte_level and adds_space_prefix(str(path), raw),
        chat_template=chat.read_template(root, config),
        special=special,
    )


def _load(path: Path) -> Backend:
    from tokenizers import Tokenizer as Backend

    try:
        return Backend.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise DamagedInput(f"{path}: {error}", "fetch tokenizer.json again") from error


def _probe(path: Path, backend: Backend) -> list[int]:
    """A letter's ids, with whatever the post-processor puts around them."""
    try:
        ids: list[int] = backend.encode("a", add_special_tokens=True).ids
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # the library's panics are no Exceptions
        raise DamagedInput(
            f"{path}: cannot encode: {error}", "fetch tokenizer.json again"
        ) from error
    return ids


def _check_added(raw: Mapping[str, Any], backend: Backend) -> None:
    """Raises ValueError for an added token that the library numbers otherwise than the file."""
    for token in raw.get("added_tokens") or []:
        found = backend.token_to_id(token["content"])
        if found != token["id"]:
            raise ValueError(
                f"added token {token['content']!r} has id {token['id']}, used is {found}"
            )


def _tokens(
    raw: Mapping[str, Any], vocabulary: int, byte_level: bool
) -> tuple[tuple[str, ...], tuple[TokenKind, ...]]:
    """Every row of the embedding named, with its kind. Raises ValueError for ids that clash."""
    model = raw["model"]
    added = raw.get("added_tokens") or []
    ids: dict[int, str] = {index: token for token, index in model["vocab"].items()}
    if len(ids) != len(model["vocab"]):
        raise ValueError("two tokens share one id")
    kinds: dict[int, TokenKind] = {}
    for token in added:
        if ids.setdefault(token["id"], token["content"]) != token["content"]:
            raise ValueError(f"id {token['id']} is both {ids[token['id']]!r} and an added token")
        kinds[token["id"]] = "control" if token.get("special") else "user_defined"
    if max(ids) >= vocabulary or min(ids) < 0:
        raise ValueError(f"token id {max(ids)}, but the embedding has {vocabulary} rows")
    for index, text in ids.items():
        if index not in kinds:
            kinds[index] = "normal" if byte_level or not _is_byte(text) else "byte"
    unknown = model["vocab"].get(model.get("unk_token"))
    if unknown is not None and not byte_level:  # every byte is known to byte-level BPE
        kinds[unknown] = "unknown"
    rows = range(vocabulary)
    return (
        tuple(ids.get(i, f"[PAD{i}]") for i in rows),
        tuple(kinds.get(i, "unused") for i in rows),
    )


def _is_byte(token: str) -> bool:
    return len(token) == 6 and token.startswith("<0x") and token.endswith(">")


def _configured_id(root: Path, key: str, vocabulary: int) -> int | None:
    """An id that only generation_config.json or config.json states; of several, the first.

    Without it a runtime would take a default of its own, and stop at a wrong token or never.
    """
    for name in ("generation_config.json", "config.json"):
        value = read_json(root / name).get(key) if (root / name).is_file() else None
        first = value[0] if isinstance(value, list) and value else value
        if type(first) is int and 0 <= first < vocabulary:
            return first
    return None


def _pair(merge: Any) -> tuple[str, str]:
    """A merge is `[left, right]`, or `left right` in older files."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return str(left), str(right)


def _content(token: Any) -> str | None:
    """A special token is a string, or an object with its text."""
    found = token.get("content") if isinstance(token, dict) else token
    return found if isinstance(found, str) else None
