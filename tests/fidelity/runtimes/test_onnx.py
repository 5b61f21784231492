"""onnxruntime for real, on the small trained model: exact, or right, or plainly wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from edgepack.errors import DamagedInput, Missing, UsageError
from edgepack.fidelity import read_corpus, runtimes, score_documents
from edgepack.fidelity.reference import Reference
from edgepack.fidelity.runtimes.onnx import OnnxRuntime
from edgepack.formats.onnx import Onnx
from edgepack.models import open_checkpoint
from edgepack.quant.schemes.onnx import SCHEMES, scheme

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

REASONER = Path(__file__).parents[3] / "fixtures" / "reasoner"
QUESTION = [{"role": "user", "content": "what is 47+386+9?"}]


@pytest.fixture(scope="module")
def source():
    return open_checkpoint(str(REASONER))


@pytest.fixture(scope="module")
def documents(source):
    return read_corpus(REASONER / "eval.jsonl", source.tokenizer)[:12]


@pytest.fixture(scope="module")
def reference(source, documents):
    return Reference(source, [document.ids for document in documents])


@pytest.fixture(scope="module")
def artifacts(written, source, tmp_path_factory):
    """The model's entry in a scheme, written once: `artifacts("int8-g32")`."""
    made = {}

    def make(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            written(Onnx(), source, SCHEMES[name], folder)
            made[name] = folder / "model.onnx"
        return made[name]

    return make


@pytest.fixture(scope="module")
def exact(artifacts):
    with runtimes.open(artifacts("F32"), threads=1) as runtime:
        yield runtime


@pytest.fixture
def distance(reference, documents):
    """Mean KLD of the model at `path` from the reference."""

    def measure(path):
        with runtimes.open(path, threads=1) as runtime:
            return float(np.mean(score_documents(reference, runtime, documents).kl))

    return measure


def test_full_precision_is_at_the_noise_floor(exact, reference, documents):
    for index, document in enumerate(documents):
        logits = exact.logits(document.ids)
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, reference.logits(index), atol=1e-4)
    scores = score_documents(reference, exact, documents)
    assert scores.kl.mean() < 1e-11


def test_fewer_bits_are_farther(distance, artifacts):
    names = ("F16", "int8-g32", "int4-g32-asym-head8", "int4-g32-asym")
    found = [distance(artifacts(name)) for name in names]
    assert found == sorted(found)
    for mean, limit in zip(found, (1e-6, 1e-4, 1e-3, 1e-2), strict=True):
        assert mean < limit


def test_nothing_is_remembered_between_calls(exact, documents):
    first = exact.logits(documents[0].ids)
    exact.logits(documents[1].ids)
    np.testing.assert_array_equal(exact.logits(documents[0].ids), first)


def test_generation_is_greedy_and_uses_the_cache(exact, source):
    ids = [*exact.tokenize(source.tokenizer.render(QUESTION)), 1, 289, 205]
    expected = list(ids)
    for _ in range(12):
        expected.append(int(exact.logits(expected)[-1].argmax()))
    made = exact.generate(ids, 12, ())
    assert made == expected[len(ids) :]
    assert exact.generate(ids, 12, {made[3]}) == made[: made.index(made[3]) + 1]
    assert exact.generate(ids, 0, ()) == []


def test_the_artifacts_own_tokenizer(exact, source):
    text = source.tokenizer.render([*QUESTION, {"role": "assistant", "content": "<think>\n4é 中"}])
    assert exact.tokenize(text) == source.tokenizer.encode(text)
    assert exact.tokenize("") == []
    assert exact.special_ids.eos == source.tokenizer.eos_id
    assert exact.special_ids.add_bos is None


def test_without_genai_tokenizer_json_is_asked(artifacts, source, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime_genai", None)
    with OnnxRuntime(artifacts("F32"), threads=1) as runtime:
        assert runtime.special_ids is None
        assert runtime.tokenize("<think>4") == source.tokenizer.encode("<think>4")


def test_without_onnxruntime_there_is_an_extra_to_install(artifacts, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(Missing) as caught:
        OnnxRuntime(artifacts("F32"))
    assert "edgepack[onnx]" in caught.value.hint


@pytest.mark.parametrize("name", ["int8-g32", "int4-g32-asym-head8", "int4-g32-asym"])
def test_genai_answers_from_the_folder(artifacts, name):
    """The real onnxruntime-genai, with the chat template it finds there, until it stops."""
    og = pytest.importorskip("onnxruntime_genai")
    folder = str(artifacts(name).parent)
    model = og.Model(folder)
    tokenizer = og.Tokenizer(model)
    prompt = tokenizer.apply_chat_template(json.dumps(QUESTION), add_generation_prompt=True)
    generator = og.Generator(model, og.GeneratorParams(model))
    ids = tokenizer.encode(prompt)
    generator.append_tokens(ids)
    while not generator.is_done() and len(generator.get_sequence(0)) < 300:
        generator.generate_next_token()
    assert generator.is_done()
    assert "The answer is 442." in tokenizer.decode(generator.get_sequence(0)[len(ids) :])


def test_genai_computes_what_onnxruntime_does(artifacts, exact, documents):
    og = pytest.importorskip("onnxruntime_genai")
    model = og.Model(str(artifacts("F32").parent))
    generator = og.Generator(model, og.GeneratorParams(model))
    generator.append_tokens(np.asarray(documents[0].ids, np.int32))
    found = generator.get_logits()[0, -1]
    np.testing.assert_allclose(found, exact.logits(documents[0].ids)[-1], atol=1e-4)


def halves_swapped(plane):
    return plane >> 4 | plane << 4


def rows_shifted(plane):
    return np.roll(plane, 1, axis=0)


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [
        (".weight", halves_swapped),
        (".weight", rows_shifted),
        (".scales", rows_shifted),
        (".zeros", halves_swapped),
    ],
    ids=["nibbles", "rows", "scales", "zeros"],
)
def test_a_wrong_packing_is_far_off(artifacts, distance, tmp_path, suffix, damage):
    whole = artifacts("int4-g32-asym")
    model = onnx.load(whole)
    for tensor in model.graph.initializer:
        plane = onnx.numpy_helper.to_array(tensor)
        if tensor.name.endswith(suffix) and plane.ndim > 1:
            values = np.ascontiguousarray(damage(plane))
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    onnx.save(model, tmp_path / "model.onnx")
    (tmp_path / "tokenizer.json").write_bytes((whole.parent / "tokenizer.json").read_bytes())
    assert distance(tmp_path / "model.onnx") > 10 * distance(whole)


def test_the_search_is_closer_than_onnxruntimes_own_rounding(
    written, source, artifacts, tmp_path, distance
):
    written(Onnx(), source, scheme("int4-g32", plain=True), tmp_path)
    assert distance(artifacts("int4-g32")) < distance(tmp_path / "model.onnx")


def test_bad_sequences_are_refused(exact):
    with pytest.raises(UsageError, match="empty sequence"):
        exact.logits([])
    for bad in (-1, exact.vocabulary):
        with pytest.raises(UsageError, match=f"token id {bad} is outside"):
            exact.generate([1, bad], 1, ())


def test_a_closed_runtime_says_so(artifacts):
    runtime = OnnxRuntime(artifacts("F32"), threads=1)
    runtime.close()
    runtime.close()
    for use in (lambda: runtime.logits([1]), lambda: runtime.tokenize("a")):
        with pytest.raises(ValueError, match="was closed"):
            use()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04" + bytes(100), b"\x08\x0b"])
def test_a_file_that_is_no_model(tmp_path, content, capfd):
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(DamagedInput, match=r"bad\.onnx"):
        OnnxRuntime(path)
    assert capfd.readouterr() == ("", "")


def test_a_model_of_another_kind(tmp_path):
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    shape = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "other",
        [shape("x", kind, [1])],
        [shape("y", kind, [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11)
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(DamagedInput, match="not a decoder"):
        OnnxRuntime(tmp_path / "other.onnx")


def test_a_broken_tokenizer_is_named(written, source, tmp_path):
    written(Onnx(), source, SCHEMES["int8-g32"], tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(DamagedInput, match="tokenizer"):
        OnnxRuntime(tmp_path / "model.onnx")
