"""A trained sentence encoder, packed; its embeddings as clients get them; damage that shows."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

pytest.importorskip("optimum", reason="the extra `optimum` has an environment of its own")
from edgepack import fidelity
from edgepack.pipeline.tasks import TaskWork

pytestmark = [pytest.mark.optimum, pytest.mark.filterwarnings("ignore")]


def test_a_package_passes_and_says_so_on_a_clean_stdout(package):
    out, done = package
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert [line.split()[0] for line in lines] == ["onnx", "fits", "fidelity", "package"]
    assert "int8-dynamic" in lines[0]
    assert lines[2].startswith("fidelity  pass (balanced): cosine 0.99")
    assert "over 64 embeddings" in lines[2]
    assert done.err == ""
    assert not list(out.glob(".edgepack-export*"))


def test_the_package_is_whole_and_of_this_model(run, package, minilm):
    done = run("verify", package[0], "--source", minilm)
    assert done.code == 0, done.err
    assert "the model and its memory law are as recorded" in done.out


def test_the_label_describes_it(run, package):
    label = run("manifest", "show", package[0], "--json").result
    assert label["model"]["architecture"] == label["artifacts"][0]["architecture"] == "bert"
    assert label["memory"]["cache"] == []
    assert label["fit"][0]["footprint"]["weights"] == label["memory"]["weights"][0]["size"]
    assert label["fit"][0]["longest_context"] == 512
    assert "optimum-onnx" in label["toolchain"]["exporter"]
    assert label["fidelity"][0]["measured"]["outputs"]["kind"] == "embeddings"


def test_the_float_export_is_at_the_noise_floor(run, full, minilm, corpus):
    done = run("validate", full, "--reference", minilm, "--corpus", corpus,
               "--profile", "convert", "--json")  # fmt: skip
    assert done.code == 0, done.err
    assert done.result["outputs"]["distance_max"] < 1e-11
    assert done.result["outputs"]["difference_max"] < 1e-5


def embeddings(folder, texts):
    """What a client of onnxruntime does, from the package alone: padded batches, masked mean."""
    import onnxruntime
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_padding()
    tokenizer.enable_truncation(256)
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    batches = []
    for start in range(0, len(texts), 16):
        encoded = tokenizer.encode_batch(texts[start : start + 16])
        mask = np.array([e.attention_mask for e in encoded])
        (states,) = session.run(
            ["last_hidden_state"],
            {
                "input_ids": np.array([e.ids for e in encoded]),
                "attention_mask": mask,
                "token_type_ids": np.array([e.type_ids for e in encoded]),
            },
        )
        batches.append((states * mask[..., None]).sum(1) / mask.sum(1, keepdims=True))
    found = np.concatenate(batches)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_clients_get_the_embeddings_of_sentence_transformers(package, full, minilm, paragraphs):
    from sentence_transformers import SentenceTransformer

    oracle = SentenceTransformer(str(minilm), device="cpu")
    expected = oracle.encode(paragraphs, normalize_embeddings=True)
    exact = (embeddings(full, paragraphs) * expected).sum(1)
    assert exact.min() > 1 - 1e-5
    close = (embeddings(package[0], paragraphs) * expected).sum(1)
    assert close.mean() > 0.98
    assert close.min() > 0.95


@pytest.fixture
def damaged(package, tmp_path):
    """`damaged(change)`: a copy whose largest product has its levels changed."""
    import onnx
    from onnx import numpy_helper

    def make(change):
        folder = tmp_path / "damaged"
        shutil.copytree(package[0], folder)
        model = onnx.load(folder / "model.onnx")
        used = {name for node in model.graph.node if node.op_type == "MatMulInteger"
                for name in node.input}  # fmt: skip
        levels = [t for t in model.graph.initializer if t.name in used and len(t.dims) == 2]
        for tensor in levels[-6:]:  # the last layer
            changed = change(numpy_helper.to_array(tensor))
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(changed), tensor.name))
        onnx.save(model, folder / "model.onnx")
        return folder

    return make


def test_flipped_nibbles_fail(run, damaged, minilm, corpus):
    folder = damaged(lambda levels: (levels << 4) | (levels >> 4))
    done = run("validate", folder, "--reference", minilm, "--corpus", corpus)
    assert done.code == 4, done.out
    assert "1 - cosine" in done.err


def test_rows_of_a_neighbour_fail(damaged, minilm, corpus):
    folder = damaged(lambda levels: np.roll(levels, 1, axis=0))
    scales = TaskWork(str(minilm)).scales(corpus)
    aggressive = fidelity.profile("aggressive")
    (report,) = scales.measure([folder / "model.onnx"], aggressive, lambda *_: None)
    assert report.verdict == "fail"
    assert report.outputs.distance.lower > 0.05


def test_damage_is_no_longer_the_package(run, damaged):
    done = run("verify", damaged(lambda levels: levels ^ 1))
    assert done.code == 5
    assert "model.onnx has sha256" in done.err
