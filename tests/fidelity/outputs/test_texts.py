"""Texts as a model gets them, and the rows that are compared of its outputs."""

import json

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from edgepack.errors import DamagedInput
from edgepack.fidelity.outputs.rows import kind_of, rows
from edgepack.fidelity.outputs.texts import open_tokenizer, read_texts
from edgepack.models import Outline

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "one", "two", "three", ".", "four"]


@pytest.fixture
def tokenizer(tmp_path):
    made = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    made.enable_padding(length=40)
    made.enable_truncation(3)
    made.save(str(tmp_path / "tokenizer.json"))
    return open_tokenizer(tmp_path)


def outline(task="feature-extraction", pooling=None, longest=64):
    return Outline(task, "bert", 9, 4, 2, 8, longest, pooling=pooling)


def read(tmp_path, tokenizer, *entries, **changes):
    path = tmp_path / "corpus.jsonl"
    path.write_text("\n".join(json.dumps(entry) for entry in entries))
    return read_texts(path, tokenizer, outline(**changes))


def test_special_tokens_are_added_and_nothing_is_padded(tmp_path, tokenizer):
    (text,) = read(tmp_path, tokenizer, {"text": "one two three ."})
    assert text.ids == (2, 4, 5, 6, 7, 3)
    assert text.name == "corpus.jsonl:1"


def test_messages_become_one_text(tmp_path, tokenizer):
    messages = [{"role": "user", "content": "one"}, {"role": "x", "content": None},
                {"role": "assistant", "content": "two"}]  # fmt: skip
    (text,) = read(tmp_path, tokenizer, {"messages": messages})
    assert text.ids == (2, 4, 5, 3)


def test_long_texts_are_cut_to_the_context(tmp_path, tokenizer):
    (text,) = read(tmp_path, tokenizer, {"text": "one two three four"}, longest=4)
    assert text.ids == (2, 4, 5, 3)
    assert text.feed(0, 4)["input_ids"].shape == (1, 4)


def test_a_question_is_the_first_sentence(tmp_path, tokenizer):
    (text,) = read(tmp_path, tokenizer, {"text": "one . two"}, task="question-answering")
    assert text.ids == (2, 4, 7, 3, 4, 7, 5, 3)
    assert text.segments == (0, 0, 0, 0, 1, 1, 1, 1)


def test_masked_padding_follows_every_text(tmp_path, tokenizer):
    (text,) = read(tmp_path, tokenizer, {"text": "one"})
    feed = text.feed(0, 64)
    assert feed["input_ids"].tolist() == [[2, 4, 3] + [0] * 8]
    assert feed["attention_mask"].tolist() == [[1] * 3 + [0] * 8]


def test_what_is_no_text_is_named(tmp_path, tokenizer):
    with pytest.raises(DamagedInput, match="line 2"):
        read(tmp_path, tokenizer, {"text": "one"}, {"words": "two"})


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [("mean", [[1.0, 2.0]]), ("max", [[2.0, 3.0]]), ("cls", [[0.0, 1.0]]), (None, None)],
)
def test_pooling_leaves_padding_out(pooling, expected):
    states = np.float32([[[0, 1], [2, 3], [99, 99]]])
    found = rows(outline(pooling=pooling), [states], 2)
    assert found.tolist() == (expected or [[0.0, 1.0], [2.0, 3.0]])
    assert kind_of(outline(pooling=pooling)) == ("embeddings" if pooling else "hidden states")


def test_rows_of_every_task():
    tokens, text, place = np.zeros((1, 5, 7)), np.zeros((1, 7)), np.zeros((1, 5))
    assert rows(outline("fill-mask"), [tokens], 3).shape == (3, 7)
    assert rows(outline("token-classification"), [tokens], 3).shape == (3, 7)
    assert rows(outline("text-classification"), [text], 3).shape == (1, 7)
    assert rows(outline("question-answering"), [place, place], 3).shape == (2, 3)
