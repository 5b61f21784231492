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
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^" + "\r\n" + r"\p{L}\p{P}\p{S}]?"
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

# llama.cpp merges whole known words first under these names, as `ignore_merges` asks
IGNORE_MERGES = frozenset({"llama-bpe", "tekken"})


def pre_tokenizer_name(where: str, tokenizer: Mapping[str, Any]) -> str:
    """llama.cpp's name for the splitting rules of a byte-level BPE tokenizer.json.

    Raises Unsupported where no name splits alike: a wrong one would damage the model silently.
    """
    rules = tuple(_rules(tokenizer.get("pre_tokenizer")))
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


def _rules(step: Any) -> Iterator[str]:
    """The splitting rules in order; ByteLevel without its regex only renames bytes."""
    if not isinstance(step, dict):
        return
    kind = step.get("type")
    if kind == "Sequence":
        for inner in step.get("pretokenizers") or ():
            yield from _rules(inner)
    elif kind == "ByteLevel":
        if step.get("use_regex", True):
            yield GPT2
    elif kind == "Digits" and step.get("individual_digits"):
        yield DIGIT
    elif kind == "Split" and step.get("behavior") == "Isolated" and not step.get("invert"):
        pattern = step.get("pattern") or {}
        yield str(pattern.get("Regex", pattern.get("String")))
    else:
        yield f"{kind} {sorted(step.items(), key=str)}"
