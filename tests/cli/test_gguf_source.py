"""A GGUF where a checkpoint is usual, as a terminal sees it."""

from pathlib import Path

import pytest

from edgepack.formats.gguf.header import head

REASONER = Path(__file__).parents[2] / "fixtures" / "reasoner"


@pytest.fixture(scope="module")
def half(run, reasoner, tmp_path_factory):
    path = tmp_path_factory.mktemp("half") / "reasoner-F16.gguf"
    assert run("quantize", reasoner, "--scheme", "F16", "-o", path).code == 0
    return path


def test_quantized_measured_and_compared(run, reasoner, half, few_documents, tmp_path):
    done = run("quantize", half, "--scheme", "Q4_K_M", "-o", tmp_path / "out",
               "--report", tmp_path / "tensors.json")  # fmt: skip
    assert done.code == 0, done.err
    path = tmp_path / "out" / "reasoner-Q4_K_M.gguf"
    found = run("report", path, "--reference", half, "--json").result
    assert (found["reference"], found["misplaced"]) == ("reasoner", [])
    assert run("report", path, "--reference", reasoner, "--json").result["misplaced"] == []
    done = run("validate", path, "--reference", reasoner, "--corpus", few_documents)
    assert done.code == 0, done.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("quantize", "HALF", "--to", "mlx:4bit-g64", "-o", "OUT"), 1, "--to gguf takes it"),
        (("pack", "HALF", "-o", "OUT"), 1, "give the checkpoint it came from"),
        (("fit", "HALF", "--to", "mlx"), 2, "give the checkpoint it came from"),
        (("fit", "HALF", "--scheme", "Q4_K_M"), 2, "give the checkpoint it came from"),
        (("fit", "HALF", "--to", "gguf:Q4_K_M"), 2, "give the checkpoint it came from"),
        (("fit", "HALF", "--pure"), 2, "give the checkpoint it came from"),
        (("validate", "HALF", "--reference", "HALF"), 1, "give the checkpoint it came from"),
        (("quantize", "no.gguf", "--scheme", "F16", "-o", "OUT"), 6, "no such file"),
    ],
)
def test_what_it_is_not_for(run, half, tmp_path, arguments, code, said):
    names = {"HALF": half, "OUT": tmp_path / "out"}
    done = run(*(names.get(argument, argument) for argument in arguments))
    assert (done.code, said in done.err) == (code, True), done.err
    assert list(tmp_path.iterdir()) == []


def test_what_has_lost_already(run, half, tmp_path):
    small, out = tmp_path / "small.gguf", tmp_path / "out.gguf"
    assert run("quantize", half, "--scheme", "Q8_0", "-o", small).code == 0
    arguments = ("quantize", small, "--scheme", "Q4_K_M", "-o", out)
    done = run(*arguments)
    assert done.code == 2
    assert "--allow-requantize" in done.err
    assert run(*arguments, "--allow-requantize").code == 0


def test_a_name_without_a_suffix_is_no_matter(run, half, tmp_path):
    """A cache names files by their digests: the first bytes say what it is."""
    blob, out, same = tmp_path / "0f3c", tmp_path / "out.gguf", tmp_path / "same.gguf"
    blob.write_bytes(half.read_bytes())
    assert run("quantize", blob, "--scheme", "Q8_0", "-o", out).code == 0
    assert run("quantize", half, "--scheme", "Q8_0", "-o", same).code == 0
    assert out.read_bytes() == same.read_bytes()


@pytest.mark.parametrize("content", [b"", b"GGU", b"not one"])
def test_another_file_without_a_suffix_is_no_gguf(run, tmp_path, content):
    other = tmp_path / "other"
    other.write_bytes(content)
    done = run("quantize", other, "--scheme", "Q8_0", "-o", tmp_path / "out.gguf")
    assert (done.code, "not a checkpoint" in done.err) == (2, True), done.err


def test_weighed_as_it_is(run, half, tmp_path):
    """One row, its bytes those of the tensors, whoever asks for how much room."""
    done = run("fit", half, "--device", "pi5-8gb", "--json")
    assert done.code == 0, done.err
    (row,) = done.result["fits"]
    assert (done.result["model"], row["scheme"], row["fidelity"]) == ("reasoner", "F16", "convert")
    same = run("fit", REASONER, "--device", "pi5-8gb", "--scheme", "F16", "--json")
    assert row == same.result["fits"][0]
    assert run("fit", half, "--memory", "20M").code == 3
    parts = tmp_path / "parts"
    done = run("quantize", half, "--scheme", "F16", "--split-max-size", "3M", "-o", parts)
    assert done.code == 0, done.err
    first, *_ = sorted(parts.iterdir())
    split = run("fit", first, "--device", "pi5-8gb", "--json").result["fits"][0]
    assert split["footprint"] == row["footprint"]


def test_an_architecture_nobody_here_knows(run, tmp_path):
    path = tmp_path / "odd.gguf"
    path.write_bytes(head({"general.architecture": "rwkv7"}, ()))
    done = run("fit", path)
    assert done.code == 1
    assert "its architecture is rwkv7" in done.err
