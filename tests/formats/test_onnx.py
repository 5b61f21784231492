"""ONNX as written: a graph onnx.checker passes, and logits that are those of transformers."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgepack.errors import Missing, Unsupported
from edgepack.fidelity.reference import Reference
from edgepack.formats.onnx import Onnx, plan
from edgepack.formats.onnx.genai import KNOWN_CLASSES, genai_config
from edgepack.models import open_checkpoint
from edgepack.quant.schemes.onnx import FAITHFUL, SCHEMES

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

FAMILIES = ["llama", "mistral", "qwen2", "qwen3"]


def logits(model, ids, float_type=np.float32):
    """Of every position, by onnxruntime itself."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    feed = {
        "input_ids": np.asarray([ids], np.int64),
        "attention_mask": np.ones((1, len(ids)), np.int64),
    }
    for value in session.get_inputs()[2:]:
        _, heads, _, size = value.shape
        feed[value.name] = np.zeros((1, heads, 0, size), float_type)
    return session.run(["logits"], feed)[0][0].astype(np.float32)


def documents(folder):
    """Token ids of every document, and the logits that transformers gives it."""
    with np.load(folder / "logits.npz") as golden:
        ends = np.cumsum(golden["lengths"])[:-1]
        ids, expected = np.split(golden["ids"], ends), np.split(golden["logits"], ends)
    return [(i.tolist(), logits_) for i, logits_ in zip(ids, expected, strict=True)]


@pytest.mark.parametrize("scheme", [scheme.name for scheme in FAITHFUL])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_checker_passes(written, checkpoint, package, family, scheme):
    artifact = written(Onnx(), checkpoint(family), SCHEMES[scheme], package)
    onnx.checker.check_model(package / "model.onnx")
    assert artifact.scheme == scheme


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_of_transformers(written, golden, package, family):
    """All of the arithmetic: biases, norms of heads, stretched rotary angles, tied and untied."""
    folder = golden / f"tiny-{family}"
    written(Onnx(), open_checkpoint(str(folder)), SCHEMES["F32"], package)
    for ids, expected in documents(folder):
        np.testing.assert_allclose(logits(package / "model.onnx", ids), expected, atol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_is_near(written, golden, package, family):
    folder = golden / f"tiny-{family}"
    written(Onnx(), open_checkpoint(str(folder)), SCHEMES["F16"], package)
    for ids, expected in documents(folder):
        found = logits(package / "model.onnx", ids, np.float16)
        assert abs(found - expected).max() < 0.02 * abs(expected).max()


@pytest.mark.parametrize(
    "changes",
    [
        {"attention_bias": True},
        {"mlp_bias": True},
        {"rope_scaling": {"rope_type": "linear", "factor": 2.0}},
        {"num_key_value_heads": 1},
        {"num_key_value_heads": 4},
    ],
    ids=["attention-bias", "mlp-bias", "linear", "one-kv-head", "no-sharing"],
)
def test_variants_agree_with_the_reference(written, builder, checkpoint, package, changes):
    tensors = builder.weights(builder.config("llama", **changes))
    if "mlp_bias" in changes:
        biases = {name: t[:, 0] for name, t in tensors.items() if ".mlp." in name}
        tensors |= {name.replace("weight", "bias"): t for name, t in biases.items()}
    source = checkpoint("llama", tensors=tensors, dtype="F32", **changes)
    written(Onnx(), source, SCHEMES["F32"], package)
    ids = np.random.default_rng(1).integers(0, 280, 50).tolist()
    expected = Reference(source, [ids]).logits(0)
    np.testing.assert_allclose(logits(package / "model.onnx", ids), expected, atol=1e-4)


@pytest.mark.parametrize("scheme", ["int4-g32-asym", "int8-g64", "int4-g128"])
@pytest.mark.parametrize("tied", [True, False])
def test_the_graph_runs_on_what_the_encoder_wrote(
    written, builder, checkpoint, package, scheme, tied
):
    """A checkpoint of decoded weights, through the float32 graph, gives the same logits.

    Rows of 32 and 48 weights do not fill a block of 64: padding is in play, too.
    """
    values = builder.config("llama", tie_word_embeddings=tied)
    tensors = builder.weights(values)
    encoding = SCHEMES[scheme].matrices
    decoded = {
        name: encoding.decode(encoding.encode(t), t.shape[1]) if t.ndim > 1 else t
        for name, t in tensors.items()
    }
    ids = np.random.default_rng(2).integers(0, 280, 40).tolist()
    found = {}
    for name, weights, chosen in (("q", tensors, scheme), ("f", decoded, "F32")):
        source = checkpoint("llama", tensors=weights, dtype="F32", tie_word_embeddings=tied)
        (package / name).mkdir()
        written(Onnx(), source, SCHEMES[chosen], package / name)
        if name == "q":
            exact(package / name / "model.onnx")
        found[name] = logits(package / name / "model.onnx", ids)
    np.testing.assert_allclose(found["q"], found["f"], atol=2e-3)


def exact(path):
    """Let MatMulNBits multiply in float32, so that weights alone are compared."""
    model = onnx.load(path, load_external_data=False)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "accuracy_level":
                attribute.i = 1
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize("scheme", ["F32", "int4-g32-asym", "int8-g32"])
def test_a_tied_embedding_is_stored_once(written, checkpoint, package, scheme):
    source = checkpoint("qwen2")
    written(Onnx(), source, SCHEMES[scheme], package)
    model = onnx.load(package / "model.onnx", load_external_data=False)
    wide = [t.name for t in model.graph.initializer if 290 in t.dims and t.data_type != 7]
    planes = {"F32": 1, "int4-g32-asym": 3, "int8-g32": 2}[scheme]
    assert (
        wide
        == ["token_embd.weight", "token_embd.weight.scales", "token_embd.weight.zeros"][:planes]
    )
    users = [n.op_type for n in model.graph.node if "token_embd.weight" in n.input]
    expected = ["Gather", "FusedMatMul"] if scheme == "F32" else ["Reshape", "MatMulNBits"]
    assert users == expected


def test_tensors_begin_on_lines_and_large_ones_on_pages(checkpoint):
    made = plan.OnnxPlan(checkpoint("llama", vocab_size=9000), SCHEMES["F32"])
    for tensor in made._layout.all:
        assert tensor.offset % (4096 if tensor.size >= 2**20 else 64) == 0
    assert any(tensor.size >= 2**20 for tensor in made._layout.all)


def test_scheme_sums_are_the_bytes_of_the_weights(checkpoint):
    for scheme in FAITHFUL:
        source = checkpoint("qwen3")
        made = plan.OnnxPlan(source, scheme)
        for tensor in scheme.assign(source.decoder):
            stored = sum(plane.size for plane in made._layout.weights[tensor.weight])
            assert tensor.stored_bytes == stored


def test_genai_config_says_when_to_stop_and_how_to_sample(written, builder, tmp_path, package):
    folder = builder.write(tmp_path / "m", "qwen2")
    sampling = {"eos_token_id": [2, 0], "temperature": 0.6, "top_k": 20}
    (folder / "generation_config.json").write_text(json.dumps(sampling))
    written(Onnx(), open_checkpoint(str(folder)), SCHEMES["F16"], package)
    config = json.loads((package / "genai_config.json").read_text())
    assert config["model"]["eos_token_id"] == [2, 0]
    assert config["model"]["pad_token_id"] == 0
    assert config["model"]["context_length"] == config["search"]["max_length"] == 512
    assert (
        config["search"] | {"temperature": 0.6, "top_k": 20, "do_sample": True} == config["search"]
    )


def test_a_model_that_never_stops_is_refused(written, builder, tmp_path, package):
    folder = builder.write(tmp_path / "m", "qwen2")
    (folder / "tokenizer_config.json").write_text("{}")
    with pytest.raises(Unsupported, match="no token ends a turn"):
        written(Onnx(), open_checkpoint(str(folder)), SCHEMES["F16"], package)


def test_what_the_tokenizer_needs_is_added_to_its_config(written, builder, tmp_path, package):
    """Without a tokenizer_class onnxruntime-genai has no chat template."""
    folder = builder.write(tmp_path / "m", "qwen2")
    original = json.loads((folder / "tokenizer_config.json").read_text())
    written(Onnx(), open_checkpoint(str(folder)), SCHEMES["F16"], package)
    found = json.loads((package / "tokenizer_config.json").read_text())
    assert found == original | {"tokenizer_class": "PreTrainedTokenizerFast"}
    assert (package / "tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()


def test_a_tokenizer_config_that_says_all_stays_as_it_is(written, builder, tmp_path, package):
    folder = builder.write(tmp_path / "m", "qwen2")
    path = folder / "tokenizer_config.json"
    path.write_text(path.read_text().replace("{", '{ "tokenizer_class": "Qwen2Tokenizer",', 1))
    written(Onnx(), open_checkpoint(str(folder)), SCHEMES["F16"], package)
    assert (package / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(("asked", "found"), [(100, 100), (4096, 512)])
def test_the_cache_of_a_conversation_is_as_long_as_asked_for(checkpoint, asked, found):
    """GenAI allocates all of it at once; no more than the model was trained for is of use."""
    config = genai_config(checkpoint(max_position_embeddings=512), asked)
    assert config["search"]["max_length"] == found
    assert config["model"]["context_length"] == 512


@pytest.mark.parametrize(
    ("stated", "samples"),
    [
        ({"temperature": 0.6}, True),
        ({"temperature": 0.6, "do_sample": False}, False),
        ({"do_sample": True}, True),
        ({"repetition_penalty": 1.1}, False),
        ({}, False),
    ],
)
def test_sampling_is_the_checkpoints_choice(builder, tmp_path, stated, samples):
    folder = builder.write(tmp_path / "m", "qwen2")
    (folder / "generation_config.json").write_text(json.dumps(stated))
    search = genai_config(open_checkpoint(str(folder)), 64)["search"]
    assert search["do_sample"] is samples
    assert search.get("repetition_penalty") == stated.get("repetition_penalty")


@pytest.mark.parametrize("name", [*sorted(KNOWN_CLASSES - {"TokenizersBackendFast"}), "Another"])
def test_genai_loads_the_tokenizer_whatever_its_class(written, builder, tmp_path, package, name):
    genai = pytest.importorskip("onnxruntime_genai")
    folder = builder.write(tmp_path / "m", "qwen2")
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tokenizer_class": name}))
    source = open_checkpoint(str(folder))
    written(Onnx(), source, SCHEMES["int8-g32"], package)
    text = "what is 47+386+9? 442"
    ids = genai.Tokenizer(str(package)).encode(text)
    assert list(ids) == source.tokenizer.encode(text)


def test_heads_that_onnxruntime_refuses_are_not_written(checkpoint):
    source = checkpoint("qwen3", head_dim=12)
    with pytest.raises(Unsupported, match="heads of 12"):
        Onnx().plan(source, SCHEMES["F32"])


def test_tables_of_angles_are_made_in_slabs(checkpoint, monkeypatch):
    monkeypatch.setattr(plan, "POSITIONS", 100)
    found = list(Onnx().plan(checkpoint(max_position_embeddings=250), SCHEMES["F32"]).derived())
    assert [start for _, start, _ in found] == [0, 0, 100, 100, 200, 200]
    assert sum(rows.shape[0] for _, _, rows in found) == 2 * 250


def test_without_onnx_there_is_an_extra_to_install(checkpoint, monkeypatch):
    monkeypatch.setattr(plan, "find_spec", lambda name: None)
    with pytest.raises(Missing) as caught:
        Onnx().plan(checkpoint(), SCHEMES["F16"])
    assert "edgepack[onnx]" in caught.value.hint
