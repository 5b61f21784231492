"""Three formats from one read, each judged in its own runtime, as a terminal sees it."""

import pytest


@pytest.fixture(scope="module")
def three(run, reasoner, tmp_path_factory):
    """All formats at 4 bits, on documents too few for a verdict: it is the way that is tested."""
    folder = tmp_path_factory.mktemp("three")
    corpus = folder / "eight.jsonl"
    lines = (reasoner / "eval.jsonl").read_text().splitlines(keepends=True)
    corpus.write_text("".join(lines[:8]))
    done = run("pack", reasoner, "--to", "gguf", "--to", "mlx", "--to", "onnx", "--bits", "4",
               "-o", folder / "out", "--corpus", corpus, "--allow-failed", "--json")  # fmt: skip
    assert done.code == 0, done.err
    return folder / "out", done.result


def test_one_package_holds_a_folder_for_each(three):
    out, result = three
    assert sorted(path.name for path in out.iterdir()) == ["edgepack.toml", "gguf", "mlx", "onnx"]
    assert [a["files"][0]["path"] for a in result["artifacts"]] == [
        "gguf/reasoner-Q4_K_M.gguf", "mlx/config.json", "onnx/model.onnx",
    ]  # fmt: skip


def test_each_was_measured_in_its_own_runtime(three):
    _, result = three
    runtimes = [report["runtime"] for report in result["fidelity"]]
    assert runtimes == ["llama.cpp", "mlx-lm", "onnxruntime"]
    for report in result["fidelity"]:
        assert report["verdict"] != "fail"
        assert report["overall"]["kl_mean"]["value"] < 0.01


def test_the_package_is_whole(three, run, reasoner):
    out, _ = three
    done = run("verify", out, "--source", reasoner)
    assert done.code == 0, done.err
    content = bytearray((out / "onnx" / "model.onnx.data").read_bytes())
    content[-100] ^= 1
    (out / "onnx" / "model.onnx.data").write_bytes(content)
    assert run("verify", out).code == 5


@pytest.mark.parametrize("form", ["gguf", "mlx", "onnx"])
def test_fit_counts_the_bytes_of_the_files_tensors(three, run, reasoner, form):
    _, result = three
    (artifact,) = (a for a in result["artifacts"] if a["format"] == form)
    done = run("fit", reasoner, "--to", form, "--scheme", artifact["scheme"], "--json")
    (fit,) = done.result["fits"]
    counted = {c["encoding"]: c["size"] for c in artifact["histogram"]}
    counted.pop("I64", None)  # an ONNX graph's own constants are no tensors of the model
    assert fit["footprint"]["weights"] == sum(counted.values())


def test_a_scheme_that_one_format_knows_gives_the_others_as_many_bits(run, reasoner, tmp_path):
    done = run("quantize", reasoner, "--to", "gguf", "--to", "mlx", "--scheme", "Q6_K",
               "-o", tmp_path / "out", "--dry-run", "--json")  # fmt: skip
    assert [p["scheme"] for p in done.result["planned"]] == ["Q6_K", "6bit-g64"]
