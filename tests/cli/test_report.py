"""The tensor report, beside what quantize writes and of any artifact."""

import json

import pytest


@pytest.fixture(scope="module")
def artifact(run, reasoner, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    done = run("quantize", reasoner, "--scheme", "Q4_K_M", "-o", folder / "model.gguf",
               "--report", folder / "tensors.json")  # fmt: skip
    assert done.code == 0, done.err
    return folder / "model.gguf", folder / "tensors.json"


def test_the_file_says_what_the_command_says(artifact, run, reasoner):
    path, file = artifact
    content = json.loads(file.read_text())
    assert content["schema"] == "edgepack.tensors/1"
    (written,) = content["reports"]
    done = run("report", path, "--reference", reasoner, "--json")
    assert done.code == 0, done.err
    assert done.result == written
    assert written["misplaced"] == []
    assert written["tensors"][0]["encoding"] == "Q4_K"
    assert written["tensors"][-1]["relative_rmse"] == 0


def test_people_see_the_worst_first(artifact, run, reasoner):
    done = run("report", artifact[0], "--reference", reasoner)
    assert done.code == 0, done.err
    lines = [line.split() for line in done.out.splitlines() if line.strip()]
    assert lines[1] == ["tensor", "type", "bytes", "relative", "RMSE", "max", "error", "cosine"]
    assert lines[3][1] == "Q4_K"
    assert [line[0] for line in lines[-3:]] == ["Q4_K", "Q6_K", "F32"]


def test_a_tensor_that_is_not_the_models_is_a_failure(artifact, run, reasoner, tmp_path):
    content = bytearray(artifact[0].read_bytes())
    content[-300_000:] = bytes(300_000)
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(content)
    done = run("report", damaged, "--reference", reasoner, "--json")
    assert done.code == 4
    assert "are not the model's" in done.error["message"]
    assert done.result["misplaced"]


def test_several_formats_are_reported_together(run, reasoner, tmp_path):
    file = tmp_path / "tensors.json"
    done = run("quantize", reasoner, "--to", "gguf", "--to", "mlx", "--bits", "4",
               "-o", tmp_path / "out", "--report", file)  # fmt: skip
    assert done.code == 0, done.err
    reports = json.loads(file.read_text())["reports"]
    assert [report["format"] for report in reports] == ["gguf", "mlx"]


def test_a_report_is_not_replaced_unasked(artifact, run, reasoner, tmp_path):
    out = tmp_path / "out.gguf"
    arguments = ("quantize", reasoner, "--scheme", "F16", "-o", out, "--report")
    assert "exists" in run(*arguments, artifact[1]).err
    assert "no place for a file" in run(*arguments, tmp_path / "nowhere" / "t.json").err
    assert not out.exists()
