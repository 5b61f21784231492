"""The splitting rules, written here as real tokenizer.json files carry them."""

from __future__ import annotations

import json

import pytest

from edgepack.errors import Unsupported
from edgepack.models.pretokenizers import adds_space_prefix, is_byte_level, pre_tokenizer_name

BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
GPT2 = BYTES | {"use_regex": True}
DIGITS = {"type": "Digits", "individual_digits": True}


def split(literal, behavior="Isolated", invert=False):
    """A Split step from the JSON string literal of its regex."""
    pattern = {"Regex": json.loads(f'"{literal}"')}
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+"
    r"[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
)
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+"
    r"[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
)
NEMO = (
    r"[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|"
    r"[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|"
    r"\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
)
O200K = (
    r"[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
)
DEEPSEEK = (
    split(r"\\p{N}{1,3}"),
    split("[一-龥぀-ゟ゠-ヿ]+"),
    split(
        r"[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?"
        r"[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"
    ),
)
REAL = {
    "GPT-2": ("gpt-2", None, [GPT2]),
    "SmolLM2-135M": ("smollm", None, [DIGITS, GPT2]),
    "Qwen2.5, Qwen3": ("qwen2", "NFC", [split(QWEN), BYTES]),
    "Llama-3.2-1B": ("llama-bpe", None, [split(LLAMA3), BYTES]),
    "granite-4.1-3b": ("llama-bpe", None, [split(LLAMA3, "Removed", True), BYTES]),
    "Mistral-Nemo": ("tekken", None, [split(NEMO), BYTES]),
    "gpt-oss-20b": ("gpt-4o", None, [split(O200K), BYTES]),
    "DeepSeek-V3, R1": ("deepseek-v3", None, [*DEEPSEEK, BYTES]),
}


def tokenizer(steps, normalizer=None, **model):
    kind = {"type": normalizer} if isinstance(normalizer, str) else normalizer
    return {
        "normalizer": kind,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
        "model": model,
    }


@pytest.mark.parametrize("model", REAL)
def test_real_tokenizers_are_known(model):
    name, normalizer, steps = REAL[model]
    assert pre_tokenizer_name("here", tokenizer(steps, normalizer)) == name
    assert is_byte_level(tokenizer(steps))


def test_one_step_needs_no_sequence():
    assert pre_tokenizer_name("here", {"pre_tokenizer": GPT2}) == "gpt-2"
    nested = {"type": "Sequence", "pretokenizers": [{"type": "Sequence", "pretokenizers": [GPT2]}]}
    assert pre_tokenizer_name("here", {"pre_tokenizer": nested}) == "gpt-2"


def test_an_empty_sequence_of_normalizers_is_none():
    empty = {"type": "Sequence", "normalizers": []}
    assert pre_tokenizer_name("here", tokenizer([GPT2], empty)) == "gpt-2"


@pytest.mark.parametrize(
    "steps",
    [
        [],
        [BYTES],
        [GPT2 | {"add_prefix_space": True}],
        [GPT2, DIGITS],
        [DIGITS | {"individual_digits": False}, GPT2],
        [split(QWEN + r"|\\d"), BYTES],
        [split(QWEN), GPT2],
        [split(QWEN, "MergedWithNext"), BYTES],
        [split(QWEN, invert=True), BYTES],
        [{"type": "Whitespace"}, GPT2],
        [*DEEPSEEK[1:], BYTES],
        [{"type": "Punctuation", "behavior": "Contiguous"}, GPT2],
    ],
)
def test_other_rules_are_refused_with_the_known_names(steps):
    with pytest.raises(Unsupported, match="match none") as caught:
        pre_tokenizer_name("tokenizer.json", tokenizer(steps))
    assert "smollm" in caught.value.hint


@pytest.mark.parametrize("normalizer", ["NFKC", "Lowercase", "NFD"])
def test_a_normalizer_that_llama_cpp_lacks_is_refused(normalizer):
    with pytest.raises(Unsupported, match=f"normalizes text by {normalizer}"):
        pre_tokenizer_name("here", tokenizer([GPT2], normalizer))


def test_ignore_merges_only_where_llama_cpp_does_it():
    known = tokenizer([split(LLAMA3), BYTES], ignore_merges=True)
    assert pre_tokenizer_name("here", known) == "llama-bpe"
    with pytest.raises(Unsupported, match="ignore_merges is set"):
        pre_tokenizer_name("here", tokenizer([split(QWEN), BYTES], ignore_merges=True))


PREPEND = {"type": "Prepend", "prepend": "▁"}
REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}


@pytest.mark.parametrize(
    ("normalizers", "pre_tokenizer", "prefixed"),
    [
        ([PREPEND, REPLACE], None, True),  # Llama 2, TinyLlama
        ([REPLACE], None, False),
        ([], METASPACE, False),  # Mistral 7B v0.3
        ([], METASPACE | {"prepend_scheme": "never"}, False),
    ],
)
def test_metaspace(normalizers, pre_tokenizer, prefixed):
    normalizer = {"type": "Sequence", "normalizers": normalizers}
    raw = {"normalizer": normalizer, "pre_tokenizer": pre_tokenizer}
    assert adds_space_prefix("here", raw) is prefixed
    assert not is_byte_level(raw)


@pytest.mark.parametrize(
    ("normalizers", "pre_tokenizer"),
    [
        ([], None),
        ([PREPEND], None),
        ([{"type": "Lowercase"}, PREPEND, REPLACE], None),
        ([PREPEND | {"prepend": "_"}, REPLACE], None),
        ([], METASPACE | {"split": True}),
        ([], METASPACE | {"prepend_scheme": "always"}),
        ([PREPEND, REPLACE], METASPACE),
    ],
)
def test_other_ways_to_mark_spaces_are_refused(normalizers, pre_tokenizer):
    normalizer = {"type": "Sequence", "normalizers": normalizers}
    with pytest.raises(Unsupported, match="prepares text by"):
        adds_space_prefix("here", {"normalizer": normalizer, "pre_tokenizer": pre_tokenizer})
