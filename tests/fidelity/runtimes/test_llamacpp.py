"""llama.cpp for real, against the same decoder written out in numpy."""

from __future__ import annotations

import ctypes.util
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType

from edgepack.errors import DamagedInput, Missing, Unsupported, UsageError
from edgepack.fidelity import Document, profile, runtimes, validate
from edgepack.fidelity.runtimes import llama_library
from edgepack.fidelity.runtimes.llamacpp import LlamaCpp


@pytest.fixture(scope="module")
def runtime(tiny_gguf):
    with runtimes.open(tiny_gguf, threads=1) as opened:
        yield opened


def sequence(seed: int, length: int, vocabulary: int) -> list[int]:
    return np.random.default_rng(seed).integers(0, vocabulary, length).tolist()


def test_logits_are_those_of_the_equations(tiny, runtime):
    ids = sequence(1, 40, tiny.vocabulary)
    logits = runtime.logits(ids)
    assert logits.shape == (40, tiny.vocabulary)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, tiny.logits(ids), atol=1e-4)


def test_a_sequence_longer_than_a_batch(tiny, runtime):
    ids = sequence(2, 1100, tiny.vocabulary)
    np.testing.assert_allclose(runtime.logits(ids), tiny.logits(ids), atol=1e-4)


def test_nothing_is_remembered_between_calls(tiny, runtime):
    ids = sequence(3, 30, tiny.vocabulary)
    first = runtime.logits(ids)
    runtime.logits(sequence(4, 70, tiny.vocabulary))
    np.testing.assert_array_equal(runtime.logits(ids), first)


def test_generation_is_greedy(tiny, runtime):
    ids = sequence(5, 10, tiny.vocabulary)
    expected = list(ids)
    for _ in range(6):
        expected.append(int(tiny.logits(expected)[-1].argmax()))
    made = runtime.generate(ids, 6, ())
    assert made == expected[10:]
    assert runtime.generate(ids, 6, {made[2]}) == made[: made.index(made[2]) + 1]
    assert runtime.generate(ids, 0, ()) == []


def test_the_artifacts_own_tokenizer(runtime):
    ids = runtime.tokenize("<|im_start|>h\u00e9\n12 ")
    assert ids == [1, *(5 + byte for byte in "h\u00e9\n12 ".encode())]
    assert runtime.detokenize(ids) == "<|im_start|>h\u00e9\n12 "
    assert runtime.tokenize("") == []
    assert len(runtime.detokenize([1] * 100)) == 1200


def test_the_artifacts_special_tokens(runtime):
    """The header states EOS, and that no BOS is added; BOS is the library's default."""
    assert runtime.special_ids.eos == 2
    assert runtime.special_ids.add_bos is False


@pytest.mark.parametrize(
    ("kind", "limits", "verdict"),
    [("F32", "convert", "pass"), ("F16", "convert", "pass"), ("Q4_0", "near-lossless", "fail")],
)
def test_the_verdict_on_a_real_artifact(tiny, tmp_path, kind, limits, verdict):
    """Short documents, so that the sample is small but the direction plain."""
    path = tiny.write(tmp_path / "tiny.gguf", GGMLQuantizationType[kind])
    ids = [tuple(sequence(n, 60, tiny.vocabulary)) for n in range(64)]
    documents = [Document(str(n), i, ("text",) * 60) for n, i in enumerate(ids)]

    class Reference:
        def logits(self, document: int) -> np.ndarray:
            return tiny.logits(list(ids[document])).astype(np.float32)

    with LlamaCpp(path, threads=1) as runtime:
        report = validate(Reference(), runtime, documents, profile(limits), identity="tiny")
    assert report.verdict == verdict
    assert report.runtime == "llama.cpp"
    assert report.runtime_version.startswith("xllamacpp ")
    if kind == "F32":
        assert report.overall.kl_mean.value < 1e-11


def test_bad_sequences_are_refused_before_the_library_sees_them(tiny, runtime):
    with pytest.raises(UsageError, match="empty sequence"):
        runtime.logits([])
    for bad in (-1, tiny.vocabulary):
        with pytest.raises(UsageError, match=f"token id {bad} is outside"):
            runtime.logits([1, bad])
        with pytest.raises(UsageError, match=f"token id {bad} is outside"):
            runtime.detokenize([bad])


def test_a_closed_runtime_says_so(tiny_gguf):
    runtime = LlamaCpp(tiny_gguf, threads=1)
    runtime.close()
    runtime.close()
    for use in (lambda: runtime.logits([1]), lambda: runtime.tokenize("a")):
        with pytest.raises(ValueError, match="was closed"):
            use()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "not a GGUF file"),
        (b"PK\x03\x04" + bytes(100), "not a GGUF file"),
        (b"GGUF" + (9).to_bytes(4, "little") + bytes(100), "version 9"),
        (b"GGUF" + (3).to_bytes(4, "little") + b"\xff" * 16 + bytes(100), "declares"),
        (b"GGUF" + (3).to_bytes(4, "little") + b"\x01" + bytes(200), "cannot load"),
    ],
)
def test_a_file_that_is_not_a_gguf(tmp_path, content, found):
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    with pytest.raises(DamagedInput, match=found) as error:
        LlamaCpp(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_truncated_file_is_named_with_the_librarys_reason(tmp_path, tiny_gguf, share, capfd):
    data = tiny_gguf.read_bytes()
    path = tmp_path / "cut.gguf"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(DamagedInput, match=r"cut\.gguf.*not within the file bounds"):
        LlamaCpp(path)
    assert capfd.readouterr() == ("", "")


def test_open_names_what_it_takes(tmp_path):
    with pytest.raises(Missing, match="does not exist"):
        runtimes.open(tmp_path / "absent.gguf")
    with pytest.raises(Unsupported, match="not an artifact"):
        runtimes.open(tmp_path)


def test_a_missing_wheel_names_the_command(monkeypatch):
    monkeypatch.setattr(llama_library, "WHEEL", "no_such_wheel")
    with pytest.raises(Missing) as error:
        llama_library.load.__wrapped__()
    assert "pip install xllamacpp==" in error.value.hint


def test_a_library_without_the_symbols():
    with pytest.raises(Missing, match="does not export llama_log_set"):
        llama_library.LlamaLibrary(Path(ctypes.util.find_library("m")), "1")


def test_a_library_that_cannot_be_loaded(tmp_path):
    path = tmp_path / "library.so"
    path.write_bytes(b"not a library")
    with pytest.raises(Missing, match="cannot be loaded"):
        llama_library.LlamaLibrary(path, "1")


def test_other_parameter_structs_are_refused(monkeypatch):
    library = llama_library.load()
    moved = llama_library._CONTEXT_OFFSETS | {"n_ubatch": 12}
    monkeypatch.setattr(llama_library, "_CONTEXT_OFFSETS", moved)
    with pytest.raises(Unsupported, match="n_ubatch 1, not 512"):
        library._check_layout()
