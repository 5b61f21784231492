"""Reading ONNX back: somebody else's models described, hostile ones refused before use."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from edgepack.errors import DamagedInput
from edgepack.formats.onnx import Onnx
from edgepack.quant.schemes.onnx import SCHEMES

onnx = pytest.importorskip("onnx")
helper, TensorProto = onnx.helper, onnx.TensorProto


@pytest.fixture
def artifact(written, checkpoint, package):
    """A tiny model in int4-g32-asym, written into `package`."""
    return written(Onnx(), checkpoint("qwen2"), SCHEMES["int4-g32-asym"], package)


@pytest.fixture
def edited(artifact, package):
    """Change the artifact's model.onnx and inspect it: `edited(change)`."""

    def apply(change):
        path = package / "model.onnx"
        model = onnx.load(path, load_external_data=False)
        change(model)
        path.write_bytes(model.SerializeToString())
        return Onnx().inspect(path)

    return apply


def entry(tensor, key):
    return next(item for item in tensor.external_data if item.key == key)


def first_external(model):
    return next(t for t in model.graph.initializer if t.data_location == TensorProto.EXTERNAL)


def test_planes_count_as_one_tensor(artifact, checkpoint):
    counts = {count.encoding: count for count in artifact.histogram}
    decoder = checkpoint("qwen2").decoder
    matrices = [weight for weight in decoder.weights if len(weight.shape) > 1]
    assert counts["int4-g32-asym"].tensors == len(matrices)
    encoding = SCHEMES["int4-g32-asym"].matrices
    assert counts["int4-g32-asym"].size == sum(encoding.tensor_bytes(w.shape) for w in matrices)
    # norms and biases, and two tables of angles
    assert counts["F32"].tensors == len(decoder.weights) - len(matrices) + 2


def test_the_digest_is_of_the_tensors_alone(artifact, edited):
    renamed = edited(lambda model: setattr(model, "producer_name", "another"))
    assert renamed.tensor_digest == artifact.tensor_digest
    assert renamed.files[0] != artifact.files[0]
    assert renamed.files[1:] == artifact.files[1:]


def test_the_digest_is_the_documented_one(artifact, package):
    model = onnx.load(package / "model.onnx")
    names = {1: "F32", 2: "U8", 7: "I64"}
    lines = sorted(
        "\0".join(
            (
                tensor.name,
                names[tensor.data_type],
                "x".join(map(str, tensor.dims)),
                hashlib.sha256(onnx.numpy_helper.to_array(tensor).tobytes()).hexdigest(),
            )
        )
        + "\n"
        for tensor in model.graph.initializer
    )
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    assert artifact.tensor_digest == f"sha256:{digest}"


def test_a_model_with_everything_inside_is_described(package):
    """Made by somebody else, of another kind, without a data file."""
    weight = onnx.numpy_helper.from_array(np.ones((4, 3), np.float16), "w")
    count = helper.make_tensor("n", TensorProto.INT32, [2], [1, 2])
    shape = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "other",
        [shape("x", TensorProto.FLOAT16, [1, 4])],
        [shape("y", TensorProto.FLOAT16, [1, 3])],
        [weight, count],
    )
    onnx.save(helper.make_model(graph), package / "other.onnx")
    (found,) = Onnx().find(package)
    artifact = Onnx().inspect(found)
    assert artifact.scheme == "F16"
    assert artifact.architecture == "unknown"
    assert [record.path for record in artifact.files] == ["other.onnx"]
    assert {(c.encoding, c.tensors, c.size) for c in artifact.histogram} == {
        ("F16", 1, 24),
        ("I32", 1, 8),
    }
    assert Onnx().ours(package) == frozenset()


def test_a_scheme_nobody_knows_is_unknown(edited):
    def change(model):
        for node in model.graph.node:
            for attribute in node.attribute:
                if node.op_type == "MatMulNBits" and attribute.name == "block_size":
                    attribute.i = 16

    artifact = edited(change)
    assert artifact.scheme == "unknown"
    assert "int4-g16-asym" in {count.encoding for count in artifact.histogram}


def test_ours_are_all_files_of_an_artifact(artifact, package):
    assert {path.name for path in package.iterdir()} <= Onnx().ours(package)


def test_a_file_that_was_never_begun_is_ours(package):
    (package / "model.onnx").touch()
    assert "model.onnx" in Onnx().ours(package)


@pytest.mark.parametrize(
    "location",
    ["", ".", "..", "../model.onnx.data", "/etc/passwd", "a/b", "a\\b", "C:model", "absent.data"],
)
def test_data_lies_beside_the_model_or_nowhere(edited, location):
    with pytest.raises(DamagedInput, match=r"model\.onnx"):
        edited(lambda m: setattr(entry(first_external(m), "location"), "value", location))


@pytest.mark.parametrize("outside", [True, False])
def test_a_link_is_no_data_file(artifact, package, tmp_path, outside):
    data = package / "model.onnx.data"
    real = (tmp_path if outside else package) / "real.data"
    data.rename(real)
    data.symlink_to(real)
    with pytest.raises(DamagedInput, match="is a link"):
        Onnx().inspect(package / "model.onnx")


@pytest.mark.parametrize("key", ["offset", "length"])
@pytest.mark.parametrize("value", ["-1", "x", "1e3", "", str(2**63), "9" * 40, "١"])
def test_offsets_and_lengths_are_within_the_file(edited, key, value):
    with pytest.raises(DamagedInput, match="tensor"):
        edited(lambda m: setattr(entry(first_external(m), key), "value", value))


def test_a_tensor_that_ends_beyond_its_file(artifact, package):
    data = package / "model.onnx.data"
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(DamagedInput, match="ends at byte"):
        Onnx().inspect(package / "model.onnx")


def test_tensors_that_overlap(edited):
    def change(model):
        first, second = (
            t for t in model.graph.initializer if t.name in ("blk.0.ffn_up.weight", "rotary.0.cos")
        )
        entry(second, "offset").value = entry(first, "offset").value

    with pytest.raises(DamagedInput, match="overlaps"):
        edited(change)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda t: t.dims.append(-1), "shape"),
        (lambda t: t.dims.append(2), "needs"),
        (lambda t: t.dims.append(2**60), "needs"),
        (lambda t: setattr(t, "data_type", 0), "unknown type"),
        (lambda t: setattr(t, "data_type", 8), "unknown type"),
        (lambda t: setattr(t, "name", ""), "name"),
        (lambda t: setattr(t, "name", "output_norm.weight"), "there twice"),
    ],
)
def test_tensors_are_what_they_say(edited, change, found):
    with pytest.raises(DamagedInput, match=found):
        edited(lambda model: change(first_external(model)))


def test_a_tensor_inside_of_the_wrong_size(edited):
    def change(model):
        tensor = next(t for t in model.graph.initializer if t.name.startswith("ints"))
        tensor.ClearField("int64_data")
        tensor.raw_data = b"123"

    with pytest.raises(DamagedInput, match="needs 8 bytes, has 3"):
        edited(change)


def test_a_quantized_node_without_scales(edited):
    def change(model):
        del next(n for n in model.graph.node if n.op_type == "MatMulNBits").input[2:]

    with pytest.raises(DamagedInput, match="lacks inputs"):
        edited(change)


@pytest.mark.parametrize("content", ["{", "[]", "null"])
def test_a_broken_genai_config(artifact, package, content):
    (package / "genai_config.json").write_text(content)
    with pytest.raises(DamagedInput, match="genai_config"):
        Onnx().inspect(package / "model.onnx")


def test_a_genai_config_of_another_shape_names_no_architecture(artifact, package):
    (package / "genai_config.json").write_text(json.dumps({"model": [1]}))
    assert Onnx().inspect(package / "model.onnx").architecture == "unknown"


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_model_cut_short(artifact, package, share):
    path = package / "model.onnx"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DamagedInput, match=r"model\.onnx"):
        Onnx().inspect(path)
