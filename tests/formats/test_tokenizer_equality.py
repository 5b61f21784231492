"""The tokenizer that llama.cpp finds in our GGUF gives the checkpoint's own token ids.

The vocabularies are made to show a wrong split: merges are learned from the very texts below with
nothing split beforehand, so that only the splitting rules keep words apart.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgepack.fidelity import runtimes
from edgepack.formats.gguf import Gguf
from edgepack.models import open_checkpoint
from edgepack.models.pretokenizers import DIGIT, GPT2, IGNORE_MERGES, RULES
from edgepack.quant.schemes.gguf import SCHEMES

TEXTS = json.loads(Path(__file__).with_name("awkward.json").read_text("utf-8"))
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}

# llama.cpp writes these two rules with \p{L} alone: a combining mark ends a word there
MARKS = {text for text in TEXTS if "\u0301\u0301" in text or "\u093f" in text}
KNOWN_DIFFERENCES = {"tekken": MARKS, "gpt-4o": MARKS}


@pytest.fixture(scope="module")
def byte_level(builder):
    """tokenizer.json without splitting rules."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = trainers.BpeTrainer(
        vocab_size=1400,
        special_tokens=list(builder.CONTROL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    return json.loads(tokenizer.to_str())


@pytest.fixture(scope="module")
def metaspace(builder):
    """tokenizer.json of SentencePiece's kind; unknown letters fall to bytes."""
    from tokenizers import Tokenizer, models, normalizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    special = ["<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(vocab_size=900, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(TEXTS[1:11] * 3, trainer)
    raw = json.loads(tokenizer.to_str())
    bytes_ = (f"<0x{byte:02X}>" for byte in range(256))
    names = dict.fromkeys([*special, *bytes_, *raw["model"]["vocab"], *builder.CONTROL])
    vocabulary = {name: index for index, name in enumerate(names)}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    raw["added_tokens"] += [
        {"id": vocabulary[name], "content": name, "special": True} | flags
        for name in builder.CONTROL
    ]
    raw["model"] |= {"vocab": vocabulary, "byte_fallback": True, "fuse_unk": True}
    return raw


@pytest.fixture
def both(written, builder, tmp_path):
    """Ids of every text by (the checkpoint's tokenizer, llama.cpp)."""

    def make(raw, texts=TEXTS):
        rows = len(raw["model"]["vocab"]) + 3
        source = builder.write(tmp_path / "m", "llama", tokenizer=raw, vocab_size=rows)
        checkpoint = open_checkpoint(str(source))
        artifact = written(Gguf(), checkpoint, SCHEMES["F16"], tmp_path)
        with runtimes.open(artifact.entry(tmp_path), threads=1) as runtime:
            assert runtime.vocabulary == rows
            return [
                (text, checkpoint.tokenizer.encode(text), runtime.tokenize(text)) for text in texts
            ]

    return make


def ruled(raw, rules):
    """`raw` with splitting rules, in the steps that real files have."""
    steps = {
        GPT2: BYTES | {"use_regex": True},
        DIGIT: {"type": "Digits", "individual_digits": True},
    }
    split = {"type": "Split", "behavior": "Isolated", "invert": False}
    chain = [steps.get(rule, split | {"pattern": {"Regex": rule}}) for rule in rules]
    if GPT2 not in rules:
        chain.append(BYTES)
    return raw | {
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": chain},
        "model": raw["model"] | {"ignore_merges": RULES[rules] in IGNORE_MERGES},
    }


@pytest.mark.parametrize(("rules", "name"), RULES.items(), ids=RULES.values())
def test_byte_level(byte_level, both, rules, name):
    found = both(ruled(byte_level, rules))
    differing = {text for text, ours, theirs in found if ours != theirs}
    assert differing == KNOWN_DIFFERENCES.get(name, set())


def test_the_texts_tell_every_rule_from_every_other(byte_level):
    """So that a wrong name could not pass the test above."""
    from tokenizers import Tokenizer

    results = set()
    for rules in RULES:
        raw = ruled(byte_level, rules)
        raw["model"] |= {"ignore_merges": False}
        tokenizer = Tokenizer.from_str(json.dumps(raw))
        results.add(str([tokenizer.encode(text).ids for text in TEXTS]))
    assert len(results) == len(RULES)


PREPEND = {"type": "Prepend", "prepend": "▁"}
REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": False}


@pytest.mark.parametrize(
    ("normalizers", "pre_tokenizer"),
    [([PREPEND, REPLACE], None), ([REPLACE], None), ([], METASPACE)],
    ids=["prepend", "replace", "never"],
)
def test_metaspace(metaspace, both, normalizers, pre_tokenizer):
    sequence = {"type": "Sequence", "normalizers": normalizers}
    raw = metaspace | {"normalizer": sequence, "pre_tokenizer": pre_tokenizer}
    for text, ours, theirs in both(raw):
        assert ours == theirs, text


def test_metaspace_that_prefixes_the_first_word_alone(metaspace, both):
    """Everything after a control token, and so every chat, is equal; a text's first word is not."""
    raw = metaspace | {"normalizer": None, "pre_tokenizer": METASPACE | {"prepend_scheme": "first"}}
    chats = [f"<s>{text}" for text in TEXTS if text]
    for text, ours, theirs in both(raw, [*chats, " Hello", "Hello"]):
        assert (ours == theirs) is (text != "Hello"), text


def test_added_words_are_user_defined(byte_level, both):
    """Tokens that users define are matched in text before anything is split."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    vocabulary = byte_level["model"]["vocab"]
    words = ["<tool_call>", "<think>", "    "]
    tokens = [
        {"id": len(vocabulary) + i, "content": word, "special": False} | flags
        for i, word in enumerate(words)
    ]
    raw = byte_level | {
        "added_tokens": [*byte_level["added_tokens"], *tokens],
        "pre_tokenizer": BYTES | {"use_regex": True},
    }
    texts = ["a<tool_call>b", "x <think>\n</think>", "if x:\n        y", "<tool_call", *TEXTS]
    for text, ours, theirs in both(raw, texts):
        assert ours == theirs, text
