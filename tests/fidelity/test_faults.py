"""Real faults, planted one at a time in artifacts of the trained fixture: each is caught, and
where it lies is said."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader

from edgepack import formats
from edgepack.fidelity.checks import faults
from edgepack.models import open_checkpoint
from edgepack.pipeline.structure import runs, structure
from edgepack.pipeline.validate import ValidateRequest, validate

_spec = importlib.util.spec_from_file_location("faults", Path(__file__).with_name("faults.py"))
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
edited = _module.edited

Q, K, V = (f"blk.1.attn_{name}.weight" for name in "qkv")


@pytest.fixture(scope="module")
def trained(reasoner):
    return open_checkpoint(str(reasoner))


@pytest.fixture(scope="module")
def artifacts(written, trained, tmp_path_factory):
    """`artifacts(scheme)`: the sound GGUF, made once."""
    made: dict[str, Path] = {}

    def make(scheme: str) -> Path:
        if scheme not in made:
            folder = tmp_path_factory.mktemp(scheme)
            form = formats.named("gguf")
            artifact = written(form, trained, form.schemes.scheme(scheme), folder)
            made[scheme] = artifact.entry(folder)
        return made[scheme]

    return make


def reasons(path, trained):
    return faults(structure(path, trained, ()))


def rows_from(name, start, stop):
    """Some rows of another tensor of the same row length."""
    return lambda stored: stored[name][start:stop]


def q_with_k(stored):
    return np.concatenate([stored[K], stored[Q][len(stored[K]) :]])


def permuted_head(stored):
    """The first two of Q's four heads of 64 rows, exchanged."""
    rows = stored[Q]
    return np.concatenate([rows[64:128], rows[:64], rows[128:]])


def one_scale(times, block_bytes):
    """The float16 at the start of a block in the middle of a row, multiplied."""

    def change(stored):
        rows = stored[V].copy()
        at = block_bytes * (rows.shape[1] // block_bytes // 2)
        rows[3, at : at + 2] = (rows[3, at : at + 2].copy().view(np.float16) * times).view(np.uint8)
        return rows

    return change


def flipped_nibbles(name):
    """Q4_0: two bytes of scale, then sixteen of two weights each."""

    def change(stored):
        blocks = stored[name].reshape(-1, 18).copy()
        packed = blocks[:, 2:]
        blocks[:, 2:] = (packed << 4) | (packed >> 4)
        return blocks.reshape(stored[name].shape)

    return change


MATRICES = [
    f"blk.{layer}.{name}.weight"
    for layer in range(4)
    for name in (
        "attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"
    )
]  # fmt: skip


@pytest.mark.parametrize("scheme", ["F32", "F16", "Q8_0", "Q4_K_M", "Q3_K_M", "Q2_K", "Q4_0"])
def test_a_sound_artifact_has_no_fault(artifacts, trained, scheme):
    assert reasons(artifacts(scheme), trained) == ()


@pytest.mark.parametrize(
    ("scheme", "tensors", "named"),
    [
        ("Q8_0", {Q: q_with_k, K: rows_from(Q, 0, 128)}, [Q, K]),
        ("Q4_K_M", {Q: permuted_head}, [Q]),
        ("F16", {Q: permuted_head}, [Q]),
        ("Q8_0", {V: one_scale(4, 34)}, [V]),
        ("Q4_0", {V: one_scale(4, 18)}, [V, "block"]),
        ("Q4_K_M", {V: one_scale(4, 144)}, [V]),
        ("Q4_0", {name: flipped_nibbles(name) for name in MATRICES}, ["Q4_0", "and 25 more"]),
        ("Q4_0", {MATRICES[5]: flipped_nibbles(MATRICES[5])}, [MATRICES[5]]),
        ("Q8_0", {V: lambda stored: np.zeros_like(stored[V])}, [V, "rows of zeros"]),
        ("F16", {V: lambda stored: np.full_like(stored[V], 0xFF)}, [V, "not finite"]),
        ("Q8_0", {"blk.2.attn_q.bias": None}, ["blk.2.attn_q.bias is missing"]),
    ],
)  # fmt: skip
def test_a_damaged_tensor_is_named(artifacts, trained, scheme, tensors, named):
    found = reasons(edited(artifacts(scheme), tensors=tensors), trained)
    assert found
    assert all(any(name in reason for reason in found) for name in named)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"qwen2.rope.freq_base": 100_000.0},
         "header: qwen2.rope.freq_base is 100000, expected 10000"),
        ({"qwen2.attention.layer_norm_rms_epsilon": 1e-5},
         "header: qwen2.attention.layer_norm_rms_epsilon is 1e-05, expected 1e-06"),
        ({"qwen2.attention.layer_norm_rms_epsilon": None},
         "layer_norm_rms_epsilon is nothing, expected 1e-06"),
        ({"qwen2.attention.head_count": 8}, "qwen2.attention.head_count is 8, expected 4"),
        ({"qwen2.attention.head_count_kv": None}, "head_count_kv is nothing, expected 2"),
        ({"qwen2.context_length": 512}, "qwen2.context_length is 512, expected 2048"),
        ({"tokenizer.ggml.eos_token_id": 0}, "special tokens: EOS is 0 in llama.cpp, 2 in"),
        ({"tokenizer.ggml.eos_token_id": None}, "special tokens: EOS is "),
        ({"tokenizer.ggml.add_bos_token": True, "tokenizer.ggml.bos_token_id": 0},
         "llama.cpp alone puts BOS"),
        ({"tokenizer.ggml.add_eos_token": True}, "llama.cpp alone puts EOS after a text"),
        ({"tokenizer.ggml.padding_token_id": 29}, "special tokens: padding is 29 in llama.cpp, 0"),
        ({"tokenizer.ggml.eot_token_id": 29},
         "llama.cpp stops at [0, 2, 29], the checkpoint at [0, 2]; 29 is '7'"),
        ({"tokenizer.ggml.pre": "llama-bpe"},
         "tokenizer.ggml.pre is 'llama-bpe', expected 'smollm'"),
        ({"tokenizer.chat_template": None}, "the artifact has none"),
        ({"tokenizer.chat_template": "{% for m in messages %}{{ m['content'] }}{% endfor %}"},
         "chat template: 'one turn' reads 'What is 2 + 2?' where expected '<|im_start|>"),
    ],
)  # fmt: skip
def test_a_wrong_key_is_named_with_what_was_expected(artifacts, trained, keys, said):
    found = reasons(edited(artifacts("Q8_0"), keys=keys), trained)
    assert any(said in reason for reason in found), found


def swapped(values, a, b):
    return [values[{a: b, b: a}.get(i, i)] for i in range(len(values))]


@pytest.mark.parametrize(
    ("key", "change", "said"),
    [
        ("tokens", lambda all_: swapped(all_, 240, 241),
         "vocabulary: 2 tokens differ, first id 240: {241!r} where expected {240!r}"),
        ("token_type", lambda all_: [3 if i == 240 else kind for i, kind in enumerate(all_)],
         "vocabulary: 1 kind differs, first id 240 {240!r}: control, expected normal"),
        ("merges", lambda all_: all_[:-1], "vocabulary: {fewer} merges where expected {merges}"),
    ],
)  # fmt: skip
def test_an_entry_of_the_vocabulary_is_named(artifacts, trained, key, change, said):
    path = artifacts("Q8_0")
    key = f"tokenizer.ggml.{key}"
    stored = GGUFReader(path).fields[key].contents()
    found = reasons(edited(path, keys={key: change(stored)}), trained)
    count = len(trained.tokenizer.merges)
    expected = said.format(*trained.tokenizer.tokens, merges=count, fewer=count - 1)
    assert any(expected in reason for reason in found), found


def test_a_key_that_a_file_may_leave_out(artifacts, trained):
    """llama.cpp takes 10,000 for a rotary base that no key states, and this model's is that."""
    keys = {"qwen2.rope.freq_base": None, "qwen2.vocab_size": None}
    assert reasons(edited(artifacts("Q8_0"), keys=keys), trained) == ()


def test_a_stop_token_that_the_runtime_does_not_know(artifacts, trained):
    stops = replace(trained)
    stops.__dict__["stop_ids"] = (2, 0, 40)
    (reason,) = reasons(artifacts("Q8_0"), stops)
    assert reason.startswith("special tokens: llama.cpp stops at [0, 2")
    assert reason.endswith("the checkpoint at [0, 2, 40]")


def test_the_verdict_is_fail_and_the_checks_are_in_the_report(artifacts, reasoner):
    path = edited(artifacts("Q8_0"), keys={"qwen2.rope.freq_base": 100_000.0})
    corpus = path.with_name("short.jsonl")
    lines = (reasoner / "eval.jsonl").read_text().splitlines()[:8]
    corpus.write_text("\n".join(lines) + "\n")
    (found,) = validate(ValidateRequest((str(path),), str(reasoner), corpus=corpus))
    assert found.verdict == "fail"
    assert found.reasons[0].startswith("header: qwen2.rope.freq_base is 100000")
    assert found.overall is not None
    told = {check["name"]: check["ok"] for check in found.to_dict()["structure"]}
    assert told["header"] is False
    assert told["tensors"] is True


def test_what_no_runtime_takes_fails_with_what_is_known_of_it(artifacts, trained, reasoner):
    path = edited(artifacts("Q8_0"), tensors={"blk.2.ffn_up.weight": None})
    checks = structure(path, trained, ())
    assert not runs(checks)
    (found,) = validate(ValidateRequest((str(path),), str(reasoner)))
    assert found.verdict == "fail"
    assert any("blk.2.ffn_up.weight is missing" in reason for reason in found.reasons)
    assert found.overall is None
