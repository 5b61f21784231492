"""The committed strings: they tell splitting rules apart, and what they find is said."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from edgepack.errors import DamagedInput
from edgepack.fidelity.texts import samples, tokenizer_checks
from edgepack.models import open_checkpoint
from edgepack.models.pretokenizers import DIGIT, GPT2, RULES


@pytest.fixture(scope="module")
def tokenizer(reasoner):
    return open_checkpoint(str(reasoner)).tokenizer


class Runtime:
    name = "fake"

    def __init__(self, tokenize):
        self.tokenize = tokenize


def test_every_kind_is_there_and_every_control_token(tokenizer):
    found = samples(tokenizer)
    assert len({sample.text for sample in found}) == len(found)
    kinds = Counter(sample.kind for sample in found)
    assert set(kinds) == {
        "white space", "words", "numbers", "code", "scripts", "emoji", "marks", "bytes", "control",
        "nul",
    }  # fmt: skip
    assert any("\u200d" in s.text for s in found if s.kind == "emoji")
    assert any("\r\n" in s.text for s in found if s.kind == "white space")
    assert any(s.text == "" for s in found)
    for token in ("<|endoftext|>", "<|im_start|>", "<|im_end|>"):
        assert any(f"a{token}b" in sample.text for sample in found)


def test_equal_tokenizers_pass(tokenizer):
    checks = tokenizer_checks(Runtime(tokenizer.encode), tokenizer)
    assert {check.ok for check in checks} == {True}


def test_a_difference_is_shown_and_marks_are_forgiven(tokenizer):
    def tokenize(text):
        if "\u0301" in text or "\u200d" in text:
            return [1, 2]
        if text == "007":
            raise DamagedInput("no such thing")
        return tokenizer.encode(text)

    checks = tokenizer_checks(Runtime(tokenize), tokenizer)
    found = {check.name: check for check in checks if check.ok is not True}
    assert {name: check.ok for name, check in found.items()} == {
        "tokenizer, marks": None,
        "tokenizer, emoji": False,
        "tokenizer, bytes": False,
        "tokenizer, numbers": False,
    }
    assert "first '007': no such thing" in found["tokenizer, numbers"].detail
    assert "became [1, 2]" in found["tokenizer, emoji"].detail


def test_the_strings_tell_every_rule_from_every_other(tokenizer):
    """With merges learned from the strings themselves, and nothing split beforehand."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    texts = [sample.text for sample in samples(tokenizer)]
    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = trainers.BpeTrainer(
        vocab_size=1400,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    plain.train_from_iterator(texts * 3, trainer)
    raw = json.loads(plain.to_str())
    results = {
        str([Tokenizer.from_str(json.dumps(_ruled(raw, rules))).encode(t).ids for t in texts])
        for rules in RULES
    }
    assert len(results) == len(RULES)


def _ruled(raw, rules):
    bytes_ = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    steps = {
        GPT2: bytes_ | {"use_regex": True},
        DIGIT: {"type": "Digits", "individual_digits": True},
    }
    split = {"type": "Split", "behavior": "Isolated", "invert": False}
    chain = [steps.get(rule, split | {"pattern": {"Regex": rule}}) for rule in rules]
    if GPT2 not in rules:
        chain.append(bytes_ | {"use_regex": False})
    return raw | {"pre_tokenizer": {"type": "Sequence", "pretokenizers": chain}}
