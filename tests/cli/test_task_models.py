"""Models known by their task, where the extra that exports them is not installed."""

import json
from importlib.util import find_spec

import numpy as np
import pytest

from edgepack import formats
from edgepack.formats import DEFAULTS
from edgepack.pipeline.tasks import TaskWork
from edgepack.quant.schemes import exported

CONFIG = {
    "architectures": ["BertModel"], "model_type": "bert", "vocab_size": 30, "hidden_size": 8,
    "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 64,
}  # fmt: skip
WITHOUT = pytest.mark.skipif(find_spec("optimum") is not None, reason="the extra is installed")


@pytest.fixture
def encoder(tmp_path):
    root = tmp_path / "encoder"
    root.mkdir()
    (root / "config.json").write_text(json.dumps(CONFIG))
    (root / "tokenizer.json").write_text(json.dumps(WORDS))
    tensors = {"w": {"dtype": "F32", "shape": [30, 8], "data_offsets": [0, 960]}}
    header = json.dumps(tensors).encode()
    content = len(header).to_bytes(8, "little") + header + np.zeros(240, "<f4").tobytes()
    (root / "model.safetensors").write_bytes(content)
    return root


WORDS = {
    "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
    "pre_tokenizer": {"type": "Whitespace"}, "post_processor": None, "decoder": None,
    "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "one": 1}, "unk_token": "[UNK]"},
}  # fmt: skip


@pytest.mark.parametrize("form", ["gguf", "mlx"])
@pytest.mark.parametrize("verb", ["pack", "quantize"])
def test_formats_of_decoders_refuse_it(run, encoder, tmp_path, verb, form):
    done = run(verb, encoder, "--to", form, "--bits", "8", "-o", tmp_path / "out")
    assert done.code == 1
    assert f"a feature-extraction model (bert), and {form} is for decoders" in done.err
    assert "--to onnx" in done.err
    assert not (tmp_path / "out").exists()


@WITHOUT
def test_an_earlier_out_may_be_replaced(run, encoder, tmp_path):
    """It is asked whether the source lies in OUT, of a model without tensors to encode too."""
    (tmp_path / "out").mkdir()
    done = run("quantize", encoder, "--to", "onnx:F32", "-o", tmp_path / "out", "--force")
    assert done.code == 6, done.err


@WITHOUT
@pytest.mark.parametrize(
    ("verb", "options"), [("pack", ()), ("quantize", ("--scheme", "int8-dynamic"))]
)
def test_the_missing_extra_is_named(run, encoder, tmp_path, verb, options):
    done = run(verb, encoder, "--to", "onnx", *options, "-o", tmp_path / "out")
    assert done.code == 6
    assert "'edgepack[optimum]'" in done.err
    assert sorted(tmp_path.iterdir()) == [encoder]


@WITHOUT
def test_validate_names_the_missing_extra_too(run, encoder, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"")
    done = run("validate", tmp_path / "model.onnx", "--reference", encoder)
    assert done.code == 6
    assert "'edgepack[optimum]'" in done.err


def test_fit_needs_no_extra(run, encoder):
    done = run("fit", encoder, "--to", "onnx", "--json")
    assert done.code == 0
    rows = done.result["fits"]
    assert [row["scheme"] for row in rows] == ["F32", "int8-dynamic"]
    assert rows[0]["footprint"]["weights"] == 4 * 240
    assert rows[1]["footprint"]["weights"] == 240 + 5 * 30
    assert done.result["parameters"] == 240


def test_a_dry_run_says_that_it_is_an_estimate(run, encoder, tmp_path):
    done = run(
        "quantize", encoder, "--to", "onnx", "--bits", "32", "--dry-run", "-o", tmp_path / "o"
    )
    assert "960 B, more or less, would be written" in done.out


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--bits", "4"), "no scheme of 4 bits"),
        (("--bits", "8", "--group", "32"), "--group 32"),
        (("--scheme", "int8-dynamc"), "did you mean 'int8-dynamic'"),
    ],
)
def test_schemes_it_does_not_have(run, encoder, tmp_path, options, told):
    done = run("quantize", encoder, "--to", "onnx", *options, "-o", tmp_path / "out")
    assert done.code == 2
    assert told in done.err


@pytest.mark.parametrize(("option", "value"), [("--ctx", 65), ("--kv", "f16"), ("--slots", 4)])
def test_settings_it_does_not_have(run, encoder, option, value):
    done = run("fit", encoder, "--to", "onnx", option, value)
    assert done.code == 2
    assert option in done.err


def test_no_cache_is_told_of_where_none_is_kept(run, encoder):
    done = run("fit", encoder, "--to", "onnx", "--device", "pi5-8gb")
    assert "for a model; context 64\n" in done.out
    assert "slot" not in done.out


def test_an_artifact_of_a_decoder_is_not_compared_with_it(run, encoder, tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    done = run("validate", tmp_path / "model.gguf", "--reference", encoder)
    assert done.code == 1
    assert "is an artifact for decoders, and encoder is none" in done.err
    assert "name the checkpoint that the artifact came from" in done.err


def test_space_for_what_int8_is_made_of(encoder):
    work = TaskWork(str(encoder))
    for scheme, space in (("F32", 960), ("int8-dynamic", 2 * 960)):
        (planned,) = work.plan([(formats.named("onnx"), exported.scheme(scheme))], DEFAULTS)
        assert planned.space == space


def test_a_device_too_small_for_it(run, encoder):
    done = run("fit", encoder, "--to", "onnx", "--memory", "1M")
    assert done.code == 3


def test_decoders_have_no_scheme_of_exported_models(run, reasoner, tmp_path):
    done = run(
        "quantize", reasoner, "--to", "onnx", "--scheme", "int8-dynamic", "-o", tmp_path / "x"
    )
    assert done.code == 2
