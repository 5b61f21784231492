"""Faults that distances on given token ids cannot see."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from edgepack.fidelity import Document, runtimes
from edgepack.fidelity.runtimes import SpecialIds
from edgepack.fidelity.structure import special_token_differences, tokenizer_differences
from edgepack.formats.gguf import Gguf
from edgepack.models import open_checkpoint
from edgepack.quant.schemes.gguf import SCHEMES


@dataclass
class Stated:
    """A checkpoint's tokenizer, as far as its special tokens go."""

    bos_id: int | None = 1
    eos_id: int | None = 2
    add_bos: bool = True
    add_eos: bool = False
    pad_id: int | None = 0
    tokens: tuple[str, ...] = ("<pad>", "<s>", "</s>", "<end>", "<turn>", "7", "8", "9")
    control_ids: frozenset[int] = frozenset({0, 1, 2, 3, 4})


class Fake:
    name = "fake"

    def __init__(self, special_ids=None, tokenize=None):
        self.special_ids = special_ids
        self.tokenize = tokenize


SAME = SpecialIds(1, 2, add_bos=True)


@pytest.mark.parametrize(
    ("stated", "found", "words"),
    [
        (Stated(), SAME, []),
        (Stated(), None, []),  # a runtime that leaves them to its caller
        (Stated(), replace(SAME, eos=7), ["EOS is 7 in fake, 2 in"]),
        (Stated(), replace(SAME, eos=None), ["EOS is None in fake, 2 in"]),
        (Stated(), replace(SAME, bos=7), ["BOS is 7 in fake, 1 in"]),
        (Stated(), replace(SAME, add_bos=False), ["the checkpoint alone puts BOS"]),
        (Stated(add_bos=False), SAME, ["fake alone puts BOS"]),
        (Stated(), replace(SAME, add_eos=False), []),
        (Stated(), replace(SAME, add_eos=True), ["fake alone puts EOS after a text"]),
        (Stated(add_eos=True), replace(SAME, add_eos=False), ["the checkpoint alone puts EOS"]),
        (Stated(), replace(SAME, pad=0), []),
        (Stated(), replace(SAME, pad=5), ["padding is 5 in fake, 0 in"]),
        (Stated(pad_id=None), replace(SAME, pad=5), []),
        (Stated(), replace(SAME, stops=frozenset({3, 2})), []),
        (Stated(), replace(SAME, stops=frozenset({2, 3, 4})), ["fake stops at [2, 3, 4], the"]),
        (Stated(), replace(SAME, stops=frozenset({2, 3, 4}), finds_stops=True), []),
        (Stated(tokens=("<|fim_pad|>",) * 8, control_ids=frozenset()),
         replace(SAME, stops=frozenset({2, 3, 5}), finds_stops=True), []),
        (Stated(), replace(SAME, stops=frozenset({2, 3, 5}), finds_stops=True),
         ["fake stops at [2, 3, 5], the checkpoint at [2, 3]; 5 is '7'"]),
        (Stated(), replace(SAME, stops=frozenset({2, 4}), finds_stops=True), ["stops at [2, 4]"]),
        (Stated(), replace(SAME, stops=frozenset({2})), ["fake stops at [2], the checkpoint at"]),
        (Stated(None, None), SAME, []),  # nothing to differ from
        (Stated(3, 4, False), SAME, ["BOS", "EOS", "alone"]),
    ],
)  # fmt: skip
def test_special_tokens(stated, found, words):
    reasons = special_token_differences(Fake(found), stated, (2, 3))
    assert len(reasons) == len(words)
    for reason, word in zip(reasons, words, strict=True):
        assert reason.startswith("special tokens: ")
        assert word in reason


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3"])
def test_what_we_write_llama_cpp_understands(written, golden, tmp_path, family):
    checkpoint = open_checkpoint(str(golden / f"tiny-{family}"))
    artifact = written(Gguf(), checkpoint, SCHEMES["F16"], tmp_path)
    tokenizer = checkpoint.tokenizer
    with runtimes.open(artifact.entry(tmp_path), threads=1) as runtime:
        assert special_token_differences(runtime, tokenizer, checkpoint.stop_ids) == ()
        moved = replace(tokenizer, eos_id=runtime.special_ids.eos + 1)
        assert len(special_token_differences(runtime, moved, checkpoint.stop_ids)) == 1


def test_a_tokenizer_that_splits_otherwise():
    class Letters:
        def encode(self, text):
            return list(text.encode())

        def decode(self, ids):
            return bytes(ids).decode()

    documents = [Document(name, tuple(b"abc"), ("text",) * 3) for name in ("one", "two")]
    assert tokenizer_differences(Fake(tokenize=Letters().encode), Letters(), documents) == ()
    (reason,) = tokenizer_differences(Fake(tokenize=lambda text: [97, 99]), Letters(), documents)
    assert "2 of 2 documents" in reason
    assert "first one at token 1: [98, 99] became [99]" in reason
