"""Two vocabularies beside each other: the first entry that differs is named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgepack import formats
from edgepack.fidelity.vocabulary import vocabulary_check
from edgepack.formats.dialect import Dialect, read_dialect
from edgepack.models import open_checkpoint

TOKENS = ("<pad>", "a", "b", "ab", "▁▁", "<|fim|>", "[PAD6]")
KINDS = ("control", "normal", "normal", "normal", "user_defined", "user_defined", "unused")
MERGES = (("a", "b"), ("b", "a"))


@pytest.fixture(scope="module")
def tokenizer(reasoner):
    own = open_checkpoint(str(reasoner)).tokenizer
    return replace(own, tokens=TOKENS, kinds=KINDS, merges=MERGES)


def dialect(tokens=TOKENS, kinds=KINDS, merges=MERGES):
    return Dialect(None, {}, tuple(tokens), tuple(kinds), tuple(merges))


@pytest.mark.parametrize(
    "stored",
    [
        dialect(),
        dialect(kinds=()),
        dialect(tokens=(*TOKENS[:4], "  ", *TOKENS[5:])),  # a converter's spaces
        dialect(tokens=(*TOKENS[:6], "<unused0>"), kinds=(*KINDS[:6], "control")),
        dialect(kinds=(*KINDS[:5], "control", "unused")),  # a converter takes it for one
    ],
)
def test_what_is_no_difference(tokenizer, stored):
    assert vocabulary_check(tokenizer, stored).ok is True


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (dialect(tokens=("<pad>", "b", "a", *TOKENS[3:])),
         "2 tokens differ, first id 1: 'b' where expected 'a'"),
        (dialect(tokens=TOKENS[:5]), "1 token differs, first id 5: None where expected '<|fim|>'"),
        (dialect(kinds=("normal", *KINDS[1:])),
         "1 kind differs, first id 0 '<pad>': normal, expected control"),
        (dialect(kinds=(*KINDS[:4], "control", *KINDS[5:])), "1 kind differs, first id 4"),
        (dialect(kinds=(*KINDS[:5], "normal", "unused")), "1 kind differs, first id 5"),
        (dialect(merges=MERGES[::-1]), "merges differ, first 0: 'b a' where expected 'a b'"),
        (dialect(merges=MERGES[:1]), "1 merges where expected 2"),
        (dialect(merges=()), "0 merges where expected 2"),
    ],
)  # fmt: skip
def test_what_differs_is_named(tokenizer, stored, said):
    found = vocabulary_check(tokenizer, stored)
    assert found.ok is False
    assert found.detail.startswith(said)


def test_scores_instead_of_merges_are_not_compared(tokenizer):
    metaspace = replace(tokenizer, scheme="metaspace")
    assert vocabulary_check(metaspace, dialect(merges=())).ok is True
    assert vocabulary_check(metaspace, dialect(merges=MERGES[:1])).ok is False


def test_no_list_of_tokens(tokenizer):
    assert vocabulary_check(tokenizer, dialect(tokens=())).ok is None


@pytest.mark.parametrize(("form", "scheme"), [("gguf", "Q8_0"), ("mlx", "BF16"), ("onnx", "F32")])
@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_every_format_carries_the_checkpoints_own(written, golden, tmp_path, form, scheme, family):
    source, kind = open_checkpoint(str(golden / f"tiny-{family}")), formats.named(form)
    artifact = written(kind, source, kind.schemes.scheme(scheme), tmp_path)
    stored = read_dialect(artifact.entry(tmp_path), source.vocabulary)
    found = vocabulary_check(source.tokenizer, stored)
    assert found.ok is True, found
    assert found.detail.startswith(f"{source.vocabulary} tokens, their kinds")
