from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgepack.errors import DamagedInput, Missing
from edgepack.fidelity import read_corpus
from edgepack.fidelity.corpus import distinct


class Bytes:
    """One token a byte; a chat is its contents, one after another, a bar before each reply."""

    control_ids: frozenset[int] = frozenset({0})

    def encode(self, text):
        return list(text.encode())

    def render(self, messages):
        return "".join(("|" if m["role"] == "assistant" else "") + m["content"] for m in messages)

    def id_of(self, text):
        return None

    def text_of(self, token_id):
        return chr(token_id)


def corpus(folder: Path, *lines: str) -> Path:
    path = folder / "corpus.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_text_and_messages(tmp_path):
    chat = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "ab", "x": 1}]
    lines = (json.dumps({"text": "hé\u2028"}), "", json.dumps({"messages": chat, "answer": "ab"}))
    text, talk = read_corpus(corpus(tmp_path, *lines), Bytes())
    assert text.name == "corpus.jsonl:1"
    assert text.ids == tuple("hé\u2028".encode())
    assert set(text.spans) == {"text"}
    assert talk.name == "corpus.jsonl:3"
    assert talk.ids == tuple(b"q|ab")
    assert talk.spans == ("prompt", "prompt", "answer", "answer")


def test_a_document_of_the_same_ids_is_taken_once(tmp_path):
    lines = [json.dumps({"text": text}) for text in ("ab", "cd", "ab", "ab", "cde")]
    read = read_corpus(corpus(tmp_path, *lines), Bytes())
    assert [d.name for d in distinct(read)] == [
        "corpus.jsonl:1",
        "corpus.jsonl:2",
        "corpus.jsonl:5",
    ]


def test_line_separators_inside_a_string_do_not_split_it(tmp_path):
    path = corpus(tmp_path, json.dumps({"text": "a\u2028b"}, ensure_ascii=False))
    assert read_corpus(path, Bytes())[0].ids == tuple("a\u2028b".encode())


def test_a_byte_order_mark_is_no_text(tmp_path):
    path = corpus(tmp_path, '{"text": "ab"}')
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_corpus(path, Bytes())[0].ids == tuple(b"ab")


class Calls(Bytes):
    """As Bytes, with calls spelled out and parts joined."""

    def render(self, messages):
        return "".join(map(self._spelled, messages))

    def _spelled(self, message):
        content = message["content"] or ""
        if isinstance(content, list):
            content = "".join(part["text"] for part in content)
        bar = "|" if message["role"] == "assistant" else ""
        return bar + content + "".join(message.get("tool_calls", []))


def test_a_reply_that_only_calls(tmp_path):
    """What it calls is its answer, as far as the next message."""
    chat = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": None, "tool_calls": ["sum"]},
        {"role": "tool", "content": "3"},
        {"role": "assistant", "content": "so"},
    ]
    (document,) = read_corpus(corpus(tmp_path, json.dumps({"messages": chat})), Calls())
    assert document.ids == tuple(b"q|sum3|so")
    assert document.spans == (*["prompt"] * 2, *["answer"] * 3, *["prompt"] * 2, *["answer"] * 2)


def test_content_in_parts(tmp_path):
    def parts(*texts):
        return [{"type": "text", "text": text} for text in texts]

    chat = [
        {"role": "user", "content": parts("q", "r")},
        {"role": "assistant", "content": parts("a")},
    ]
    (document,) = read_corpus(corpus(tmp_path, json.dumps({"messages": chat})), Calls())
    assert document.ids == tuple(b"qr|a")
    assert document.spans == ("prompt", "prompt", "prompt", "answer")


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "neither messages nor text"),
        ('{"text": 3}', "neither messages nor text"),
        ('{"messages": []}', "neither messages nor text"),
        ('{"messages": [{"role": "user"}]}', "neither messages nor text"),
        ('{"messages": [{"role": "user", "content": null}]}', "neither messages nor text"),
        ('{"messages": [{"role": "user", "content": null, "tool_calls": [1]}]}', "neither"),
        ('{"messages": [{"role": "assistant", "content": null, "tool_calls": []}]}', "neither"),
        ('{"messages": [{"role": "user", "content": []}]}', "neither"),
        ('{"messages": [{"role": "user", "content": [{"type": "image"}]}]}', "neither"),
        ('{"text": "a"}', "1 tokens predict"),
        ('{"text": ""}', "0 tokens predict"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, found):
    path = corpus(tmp_path, '{"text": "fine"}', line)
    with pytest.raises(DamagedInput, match=r"corpus\.jsonl, line 2") as error:
        read_corpus(path, Bytes())
    assert found in str(error.value)


def test_an_empty_file_and_no_file(tmp_path):
    with pytest.raises(DamagedInput, match="no documents"):
        read_corpus(corpus(tmp_path, "", " "), Bytes())
    with pytest.raises(Missing, match="does not exist"):
        read_corpus(tmp_path / "absent.jsonl", Bytes())


def test_a_file_that_is_not_text(tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DamagedInput, match="cannot be read"):
        read_corpus(path, Bytes())


@pytest.mark.parametrize("name", ["n" * 300, "corpus\0.jsonl"])
def test_a_name_that_no_file_can_have(tmp_path, name):
    with pytest.raises(DamagedInput, match="cannot be read"):
        read_corpus(tmp_path / name, Bytes())
