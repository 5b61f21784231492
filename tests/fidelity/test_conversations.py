"""Two templates over the same conversations: equal ids, or what differs first."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgepack import formats
from edgepack.fidelity.conversations import conversations, template_check
from edgepack.formats.dialect import Dialect, read_dialect
from edgepack.models import open_checkpoint

THINKING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if tools %}{{ tools | tojson }}{% endif %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n{% endif %}"
    "{% endif %}"
)


@pytest.fixture(scope="module")
def tokenizer(reasoner):
    return replace(open_checkpoint(str(reasoner)).tokenizer, chat_template=THINKING)


class Runtime:
    name = "fake"

    def __init__(self, tokenizer):
        self.tokenize = tokenizer.encode


def check(tokenizer, template, tokenize=None):
    runtime = Runtime(tokenizer)
    runtime.tokenize = tokenize or runtime.tokenize
    return template_check(runtime, tokenizer, Dialect(template, tokenizer.special, ()))


def test_what_is_asked():
    asked = conversations()
    names = {conversation.name for conversation in asked}
    assert len(names) == len(asked) == 14
    assert any("tools" in conversation.options for conversation in asked)
    assert {c.options.get("enable_thinking") for c in asked} == {None, True, False}


def test_equal_templates(tokenizer):
    found = check(tokenizer, THINKING)
    assert found.ok is True
    assert found.detail.startswith("is the same text; 14 conversations")
    rewritten = THINKING.replace("{% if tools %}", "{%  if tools  %}")
    assert check(tokenizer, rewritten).detail.startswith("is another text; 14")


@pytest.mark.parametrize(
    ("template", "first"),
    [
        (THINKING.replace("not enable_thinking", "false"), "'thinking off' reads"),
        (THINKING.replace("tools | tojson", "''"), "'tools' reads"),
        (THINKING.replace("<|im_end|>\n{% endfor", "<|im_end|>{% endfor"), "'one turn' reads"),
        (THINKING.replace("m.role", "raise_exception('no')"), "'one turn' is refused by the art"),
        (THINKING + "{{ eos_token }}", "'one turn' reads '<|im_end|>' where expected ''"),
    ],
)
def test_what_differs_is_named(tokenizer, template, first):
    found = check(tokenizer, template)
    assert found.ok is False
    assert found.detail.startswith(first)


def test_a_tokenizer_that_splits_the_same_text_otherwise(tokenizer):
    found = check(tokenizer, THINKING, lambda text: tokenizer.encode(text)[1:])
    assert found.ok is False
    assert found.detail.startswith("'one turn' is the same text and splits at token 0: [1, ")


def test_no_template(tokenizer):
    assert check(tokenizer, None).ok is False
    none = replace(tokenizer, chat_template=None)
    assert check(none, None).ok is None
    assert "has one" in check(none, THINKING).detail


def test_what_both_refuse_is_no_difference(tokenizer):
    refusing = "{% if messages | length > 1 %}{{ raise_exception('no') }}{% endif %}x"
    found = check(replace(tokenizer, chat_template=refusing), refusing)
    assert found.ok is True
    assert found.detail == "is the same text; 4 conversations give the same ids, both refuse 10"


def test_where_both_refuse_all_nothing_was_compared(tokenizer):
    refusing = "{{ raise_exception('no') }}"
    found = check(replace(tokenizer, chat_template=refusing), refusing)
    assert found.ok is None
    assert found.detail == "is the same text; both refuse all 14 conversations"


@pytest.mark.parametrize(("form", "scheme"), [("gguf", "Q8_0"), ("mlx", "BF16"), ("onnx", "F32")])
def test_every_format_carries_the_checkpoints_own(written, reasoner, tmp_path, form, scheme):
    source, kind = open_checkpoint(str(reasoner)), formats.named(form)
    artifact = written(kind, source, kind.schemes.scheme(scheme), tmp_path)
    found = read_dialect(artifact.entry(tmp_path), source.vocabulary)
    assert found.template == source.tokenizer.chat_template
    assert found.special["eos_token"] == "<|im_end|>"
    assert found.tokens == source.tokenizer.tokens
