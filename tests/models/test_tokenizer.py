"""tokenizer.json -> Tokenizer: every row of the embedding has a text and a kind."""

from __future__ import annotations

import copy
import json
import random

import pytest

from edgepack.errors import DamagedInput, EdgepackError, Missing, Unsupported
from edgepack.models.tokenizer import read_tokenizer

GPT2 = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
BOS = {
    "type": "TemplateProcessing",
    "single": [
        {"SpecialToken": {"id": "<s>", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
    ],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {"<s>": {"id": "<s>", "ids": [4], "tokens": ["<s>"]}},
}
EOS = BOS | {"single": BOS["single"][::-1]}
PANIC = BOS | {"special_tokens": {}}  # the library panics on it


def added(token_id, content, special=True, **flags):
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": token_id, "content": content, "special": special} | plain | flags


def byte_level(**changes):
    """Three letters, one merge, a control token, and one that users define."""
    return {
        "version": "1.0",
        "added_tokens": [added(4, "<s>"), added(5, "<tool>", special=False)],
        "normalizer": None,
        "pre_tokenizer": GPT2,
        "post_processor": None,
        "decoder": GPT2,
        "model": {
            "type": "BPE",
            "vocab": {"a": 0, "b": 1, "ab": 2, "Ġ": 3},
            "merges": [["a", "b"]],
        },
    } | changes


def metaspace(**model):
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "a", "▁a"]
    steps = [
        {"type": "Prepend", "prepend": "▁"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
    ]
    return byte_level(
        added_tokens=[added(0, "<unk>"), added(1, "<s>"), added(2, "</s>")],
        normalizer={"type": "Sequence", "normalizers": steps},
        pre_tokenizer=None,
        decoder=None,
        model={
            "type": "BPE",
            "vocab": {token: index for index, token in enumerate(tokens)},
            "merges": ["▁ a"],
            "byte_fallback": True,
            "fuse_unk": True,
            "unk_token": "<unk>",
        }
        | model,
    )


@pytest.fixture
def read(tmp_path):
    def make(raw, vocabulary=8, config=None):
        (tmp_path / "tokenizer.json").write_text(json.dumps(raw), "utf-8")
        if config is not None:
            (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
        return read_tokenizer(tmp_path, vocabulary)

    return make


def test_every_row_has_a_text_and_a_kind(read):
    tokenizer = read(byte_level())
    assert tokenizer.scheme == "byte-level"
    assert tokenizer.tokens == ("a", "b", "ab", "Ġ", "<s>", "<tool>", "[PAD6]", "[PAD7]")
    assert tokenizer.kinds == (
        "normal", "normal", "normal", "normal", "control", "user_defined", "unused", "unused",
    )  # fmt: skip
    assert tokenizer.merges == (("a", "b"),)
    assert tokenizer.control_ids == {4}
    assert (tokenizer.id_of("<tool>"), tokenizer.id_of("nothing")) == (5, None)


def test_control_tokens_are_parsed_and_none_is_added(read):
    tokenizer = read(byte_level(post_processor=BOS), config={"bos_token": "<s>"})
    assert tokenizer.encode("ab<s> a<tool>") == [2, 4, 3, 0, 5]
    assert tokenizer.encode("") == []
    assert tokenizer.decode([2, 4, 3, 0, 5]) == "ab<s> a<tool>"
    assert [tokenizer.text_of(i) for i in (2, 4, 3, 6)] == ["ab", "<s>", " ", "[PAD6]"]


def test_merges_may_be_written_as_texts(read):
    raw = byte_level()
    raw["model"]["merges"] = ["a b"]
    assert read(raw).merges == (("a", "b"),)


def test_special_tokens_are_texts_or_objects(read):
    config = {"bos_token": added(4, "<s>"), "eos_token": "<tool>", "pad_token": None}
    tokenizer = read(byte_level(), config=config)
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id) == (4, 5, None)
    assert tokenizer.special == {"bos_token": "<s>", "eos_token": "<tool>"}


@pytest.mark.parametrize(
    ("processor", "config", "adds"),
    [
        (None, {"bos_token": "<s>"}, (False, False)),
        (BOS, {"bos_token": "<s>"}, (True, False)),
        (BOS, {"bos_token": "<tool>"}, (False, False)),
        (BOS, {}, (False, False)),
        (EOS, {"eos_token": "<s>"}, (False, True)),
    ],
)
def test_what_an_encoder_adds_is_asked_of_the_post_processor(read, processor, config, adds):
    tokenizer = read(byte_level(post_processor=processor), config=config)
    assert (tokenizer.add_bos, tokenizer.add_eos) == adds


def test_metaspace_with_byte_fallback(read):
    tokenizer = read(metaspace(), 264, {"bos_token": "<s>", "eos_token": "</s>"})
    assert (tokenizer.scheme, tokenizer.pre, tokenizer.add_space_prefix) == (
        "metaspace",
        None,
        True,
    )
    assert tokenizer.kinds[:4] == ("unknown", "control", "control", "byte")
    assert tokenizer.kinds[258:] == ("byte", "normal", "normal", "normal", "unused", "unused")
    assert (tokenizer.unknown_id, tokenizer.bos_id, tokenizer.eos_id) == (0, 1, 2)
    assert tokenizer.encode("a\n") == [261, 3 + 0x0A]


def test_byte_fallback_does_not_make_byte_level_metaspace(read):
    raw = byte_level()
    raw["model"] |= {"byte_fallback": True}
    assert read(raw).scheme == "byte-level"


def test_neither_byte_level_nor_byte_fallback_is_refused(read):
    with pytest.raises(Unsupported):
        read(metaspace(byte_fallback=False), 264)


@pytest.mark.parametrize("kind", ["Unigram", "WordPiece", None])
def test_other_models_are_refused(read, kind):
    with pytest.raises(Unsupported, match=f"tokenizer model is {kind!r}"):
        read(byte_level(model={"type": kind, "vocab": {}}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda raw: raw["model"]["vocab"].update(c=1), "two tokens share one id"),
        (lambda raw: raw["model"]["vocab"].update(c=8), "token id 8, but the embedding has 8 rows"),
        (lambda raw: raw["model"]["vocab"].update(c=-1), "tokenizer.json"),
        (lambda raw: raw["added_tokens"].append(added(0, "<x>")), "id 0 is both 'a' and an added"),
        (lambda raw: raw["added_tokens"].append(added(7, "<x>")), "has id 7, used is 6"),
        (lambda raw: raw.update(post_processor=PANIC), "cannot encode"),
        (lambda raw: raw["model"].update(merges=["a b c"]), "tokenizer.json"),
        (lambda raw: raw["model"].update(merges=3), "tokenizer.json"),
        (lambda raw: raw["model"].pop("merges"), "tokenizer.json"),
        (lambda raw: raw["model"].pop("vocab"), "tokenizer.json"),
        (lambda raw: raw["model"].update(vocab=["a"]), "tokenizer.json"),
        (lambda raw: raw.update(added_tokens=[{"id": 3}]), "tokenizer.json"),
        (lambda raw: raw.update(pre_tokenizer={"type": "Sequence", "pretokenizers": 3}), "json"),
    ],
)
def test_damage_is_named(read, change, said):
    raw = byte_level()
    change(raw)
    with pytest.raises(DamagedInput) as caught:
        read(raw)
    assert said in caught.value.message


def test_no_tokenizer(tmp_path):
    with pytest.raises(Missing, match=r"tokenizer\.json"):
        read_tokenizer(tmp_path, 8)


def test_no_chat_template(read):
    with pytest.raises(Unsupported, match="no chat template"):
        read(byte_level()).render([{"role": "user", "content": "a"}])


def test_a_template_may_name_the_special_tokens(read):
    config = {"bos_token": "<s>", "chat_template": "{{ bos_token }}{{ messages[0].content }}"}
    assert read(byte_level(), config=config).render([{"role": "user", "content": "ab"}]) == "<s>ab"


def test_mutations_raise_only_our_errors(read):
    """Values of a sound file replaced, here and there, by values of another kind."""
    rng = random.Random(2)
    odd = (None, True, -1, 0, 7, 2**64, 1.5, "", "a", [], {}, [1], [["a"]], {"a": 1})
    refused = 0
    for _ in range(300):
        sound = metaspace() if rng.random() < 0.2 else byte_level(post_processor=BOS)
        raw = copy.deepcopy(sound)
        place, key = raw, rng.choice(list(raw))
        while isinstance(place[key], dict | list) and place[key] and rng.random() < 0.7:
            place = place[key]
            key = rng.choice(list(place) if isinstance(place, dict) else range(len(place)))
        place[key] = copy.deepcopy(rng.choice(odd))
        try:
            read(raw, 264, {"bos_token": "<s>"})
        except EdgepackError:
            refused += 1
    assert refused > 100
