"""Which of llama.cpp's named pre-tokenizers splits text as a tokenizer.json does.

A wrong name silently damages a model, so nothing is guessed: the splitting rules of tokenizer.json
are compared, one by one, with those that llama.cpp documents for each name, and a tokenizer that
matches none is refused. The rules themselves are compared rather than a fingerprint of the
vocabulary, so a fine-tune with added tokens is still recognised.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edgepack.errors import Unsupported

DIGIT = r"\p{N}"
GPT2 = "ByteLevel"  # tokenizers' ByteLevel with use_regex applies GPT-2's own pattern
_CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_CASED = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+%s|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*%s|"
    r"\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_TAIL = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_CJK = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
_DEEPSEEK = (
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^""" + "\r\n" + r"\p{L}\p{P}\p{S}]?"
    r"[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[" + "\r\n" + r"]*|\s*[" + "\r\n" + r"]+|\s+(?!\S)|\s+"
)

RULES: Mapping[tuple[str, ...], str] = {
    (GPT2,): "gpt-2",
    (DIGIT, GPT2): "smollm",
    (_CONTRACTION + r"\p{N}" + _REST,): "qwen2",
    (_CONTRACTION + r"\p{N}{1,3}" + _REST,): "llama-bpe",
    (_CASED % ("", "", ""),): "tekken",
    (_CASED % (_TAIL, _TAIL, "{1,3}"),): "gpt-4o",
    (r"\p{N}{1,3}", _CJK, _DEEPSEEK): "deepseek-v3",
}

# the normalizing and splitting steps of metaspace BPE -> whether a space is put before every text.
# "first" prefixes only what stands at the very beginning, and llama.cpp can do all or none: with
# none, everything after a control token, and so every chat, is split alike.
_PREPEND = {"type": "Prepend", "prepend": "\u2581"}
_REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
_NEVER = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "never", "split": False}
METASPACE: tuple[tuple[list[Mapping[str, Any]], bool], ...] = (
    ([_PREPEND, _REPLACE], True),
    ([_REPLACE], False),
    ([_NEVER], False),
    ([_NEVER | {"prepend_scheme": "first"}], False),
)

# llama.cpp merges whole known words first under these names, as `ignore_merges` asks
IGNORE_MERGES = frozenset({"llama-bpe", "tekken"})


def is_byte_level(tokenizer: Mapping[str, Any]) -> bool:
    """Whether text is spelled in bytes before it is merged."""
    return any(step["type"] == "ByteLevel" for step in _steps(tokenizer.get("pre_tokenizer")))


def adds_space_prefix(where: str, tokenizer: Mapping[str, Any]) -> bool:
    """Whether text gets a space in front, in a metaspace BPE tokenizer.json.

    Raises Unsupported for steps that llama.cpp does not take.
    """
    steps = [*_steps(tokenizer.get("normalizer")), *_steps(tokenizer.get("pre_tokenizer"))]
    for known, prefixed in METASPACE:
        if steps == known:
            return prefixed
    raise Unsupported(
        f"{where}: it prepares text by {steps!r}, which llama.cpp does not",
        "supported: Prepend and Replace, or Metaspace without split that prepends first or never",
    )


def pre_tokenizer_name(where: str, tokenizer: Mapping[str, Any]) -> str:
    """llama.cpp's name for the splitting rules of a byte-level BPE tokenizer.json.

    Raises Unsupported where no name splits alike: a wrong one would damage the model silently.
    """
    rules = tuple(_rules(tokenizer.get("pre_tokenizer")))
    normalizers = [step["type"] for step in _steps(tokenizer.get("normalizer"))]
    if normalizers not in ([], ["NFC"]):  # composed text, as nearly all text is, NFC leaves alone
        raise Unsupported(
            f"{where}: it normalizes text by {', '.join(normalizers)}, which llama.cpp does not",
            "supported: none, or NFC",
        )
    name = RULES.get(rules)
    if name is None:
        raise Unsupported(
            f"{where}: its splitting rules {rules!r} match none that llama.cpp has a name for",
            f"known: {', '.join(sorted(set(RULES.values())))}",
        )
    ignores = bool(tokenizer.get("model", {}).get("ignore_merges"))
    if ignores and name not in IGNORE_MERGES:
        raise Unsupported(
            f"{where}: ignore_merges is set, which llama.cpp does not do for {name!r}",
            "the tokenizer would split words otherwise than the model learned",
        )
    return name


def _steps(step: Any) -> Iterator[Mapping[str, Any]]:
    """A normalizer or pre-tokenizer as its plain steps, sequences opened."""
    if not isinstance(step, dict):
        return
    inner = step.get("pretokenizers", step.get("normalizers"))
    if inner is None:
        yield step
    else:
        for each in inner:
            yield from _steps(each)


def _rules(pre_tokenizer: Any) -> Iterator[str]:
    """The splitting rules in order; ByteLevel without its regex only renames bytes."""
    for step in _steps(pre_tokenizer):
        kind = step["type"]
        if kind == "ByteLevel" and not step.get("add_prefix_space"):
            if step.get("use_regex", True):
                yield GPT2
        elif kind == "Digits" and step.get("individual_digits"):
            yield DIGIT
        elif kind == "Split" and _keeps_matches(step):
            pattern = step["pattern"]
            yield str(pattern.get("Regex", pattern.get("String")))
        else:
            yield f"{kind} {sorted(step.items(), key=str)}"


def _keeps_matches(split: Mapping[str, Any]) -> bool:
    """Whether each match becomes a piece: stated either way, as these patterns match everything."""
    stated = (split.get("behavior"), bool(split.get("invert")))
    return stated in (("Isolated", False), ("Removed", True))
