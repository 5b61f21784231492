"""The floor and the control on the trained fixture, and beside artifacts in llama.cpp."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from edgepack import formats
from edgepack.errors import InvalidMeasurement
from edgepack.fidelity import profile, read_corpus, reference, runtimes, score_documents
from edgepack.fidelity.chunks import whole_chunks
from edgepack.fidelity.corpus import Document
from edgepack.fidelity.floor import FLOOR_TOKENS, NoiseFloor, bench, suspicions
from edgepack.fidelity.standard import standard
from edgepack.models import open_checkpoint
from edgepack.pipeline import validate as verb
from edgepack.quant.schemes.gguf import SCHEMES

SHARE = 24  # documents


@pytest.fixture(scope="module")
def checkpoint(reasoner):
    return open_checkpoint(str(reasoner))


@pytest.fixture(scope="module")
def documents(reasoner, checkpoint):
    return read_corpus(reasoner / "eval.jsonl", checkpoint.tokenizer)[:SHARE]


@pytest.fixture(scope="module")
def found(checkpoint, documents):
    return standard(checkpoint, documents)


@pytest.fixture(scope="module")
def artifact(checkpoint, written, tmp_path_factory):
    folder, gguf = tmp_path_factory.mktemp("artifacts"), formats.named("gguf")

    def write(scheme):
        path = folder / f"reasoner-{scheme}.gguf"
        if not path.exists():
            written(gguf, checkpoint, SCHEMES[scheme], folder)
        return path

    return write


def distance(found, documents, path):
    with runtimes.open(path, threads=1) as runtime:
        return score_documents(found.run.reference, runtime, documents).kl.mean()


def test_the_floor_is_what_llama_cpp_makes_of_a_bf16_artifact(found, documents, artifact):
    """Its matrices are the checkpoint's own, so all of its distance is its arithmetic's. Measured
    on all 46,155 tokens: a floor of 2.86e-7, BF16 at 2.81e-7."""
    assert found.floor.arithmetic == "BF16"
    measured = distance(found, documents, artifact("BF16"))
    assert found.floor.kl_mean == pytest.approx(measured, rel=0.3)


def test_the_floor_lies_between_float32_and_eight_bits(found, documents, artifact):
    exact, eight = (distance(found, documents, artifact(scheme)) for scheme in ("F32", "Q8_0"))
    assert 100 * exact < found.floor.kl_mean < eight / 4
    assert found.floor.hard_flip_count == 0
    assert found.floor.top1 > 0.99


def test_the_reference_is_at_zero_distance_from_itself(found, documents):
    assert found.control.kl_max == 0
    assert found.control.kl_from_pass < 1e-9
    assert found.control.tokens == len(_named(documents, found.control.document).ids) - 1


def _named(documents, name) -> Document:
    return next(d for d in documents if d.name == name)


def test_a_machine_that_does_not_compute_the_same_twice_measures_nothing(
    checkpoint, documents, monkeypatch
):
    run = reference.run

    def noisy(*given):
        states = run(*given)
        states[-1][0, 0] += 1e-3
        return states

    monkeypatch.setattr(reference, "run", noisy)
    with pytest.raises(InvalidMeasurement, match=r"invalid measurement.*run twice"):
        standard(checkpoint, documents[:2])


def test_the_seed_draws_the_documents(checkpoint):
    documents = [Document(f"d{n}", (0,) * 500, ("text",) * 500) for n in range(40)]
    cut = whole_chunks(documents)
    first, again, other = (bench(checkpoint, cut, seed) for seed in (0, 0, 1))
    assert first == again
    assert first.floor != other.floor
    assert len(first.floor) == FLOOR_TOKENS // 500
    assert first.control in first.floor
    long = whole_chunks([Document("long", (0,) * 9000, ("text",) * 9000)])
    assert bench(checkpoint, long, 0).floor == (0,)


FLOOR = NoiseFloor("BF16", 4, 4000, 1e-5, 1e-3, 0.999, 0)


def overall(mean, largest):
    return SimpleNamespace(tokens=100, kl_max=largest, kl_mean=SimpleNamespace(value=mean))


def test_what_is_nearer_than_it_can_be_is_suspicious():
    quantized, plain = frozenset({"Q4_K", "F32"}), frozenset({"BF16", "F32"})
    assert list(suspicions(overall(1e-5, 1), FLOOR, quantized, "a")) == []
    (note,) = suspicions(overall(1e-6, 1), FLOOR, quantized, "a.gguf")
    assert "suspicious: a.gguf (Q4_K)" in note
    assert list(suspicions(overall(1e-13, 1e-9), FLOOR, plain, "a")) == []
    (note,) = suspicions(overall(0.0, 0.0), FLOOR, plain, "a")
    assert "zero distance" in note
    (note,) = suspicions(overall(0.0, 0.0), FLOOR, None, "a")
    assert "zero distance" in note
    with pytest.raises(InvalidMeasurement, match=r"invalid measurement: a \(Q4_K\) is at zero"):
        list(suspicions(overall(0.0, 0.0), FLOOR, quantized, "a"))


class Echo(runtimes.Runtime):
    """The reference itself, in the place of an artifact's runtime."""

    name, version, special_ids = "echo", "1", None

    def __init__(self, checkpoint):
        self.checkpoint, self.vocabulary = checkpoint, checkpoint.decoder.vocabulary
        self.given = {}

    def logits(self, ids):
        return self.given[tuple(ids)]

    def tokenize(self, text):
        return self.checkpoint.tokenizer.encode(text)

    def close(self):
        pass


def test_a_quantized_artifact_that_is_the_reference_is_an_invalid_measurement(
    checkpoint, documents, found, artifact, monkeypatch
):
    echo = Echo(checkpoint)
    echo.given = {d.ids: found.run.reference.logits(i) for i, d in enumerate(documents)}
    monkeypatch.setattr(verb.runtimes, "open", lambda path: echo)
    monkeypatch.setattr(verb, "structure", lambda *given: ())
    monkeypatch.setattr(verb, "runs", lambda checks: True)
    corpus = verb.Corpus(None, "", documents)
    with pytest.raises(InvalidMeasurement, match=r"Q8_0.gguf \(Q8_0\) is at zero distance"):
        verb.measure([artifact("Q8_0")], checkpoint, corpus, profile())
    (report,) = verb.measure([artifact("F32")], checkpoint, corpus, profile())
    assert any("zero distance" in note for note in report.notes)


def test_one_document_many_times_is_one_document(checkpoint, reasoner, artifact, tmp_path):
    line = (reasoner / "eval.jsonl").read_text().splitlines()[0]
    path = tmp_path / "repeated.jsonl"
    path.write_text(f"{line}\n" * 64)
    corpus = verb.read_corpus(checkpoint, path)
    (report,) = verb.measure([artifact("F32")], checkpoint, corpus, profile())
    assert report.documents == 1
    assert report.verdict == "inconclusive"
    assert "63 documents are repeated and counted once" in report.notes


def test_what_a_report_says_of_itself(checkpoint, documents, artifact):
    """Cut in chunks, at a temperature: plain JSON, and the same bytes from kept states."""
    corpus = verb.Corpus(None, "", documents)
    asked = verb.ValidateRequest(temperature=2.0, alpha=0.25, window=96, seed=3)
    first, again = (
        json.dumps(report.to_dict(), allow_nan=False)
        for _ in range(2)
        for report in verb.measure([artifact("Q8_0")], checkpoint, corpus, profile(), request=asked)
    )
    assert first == again
    report = json.loads(first)
    assert report["noise_floor"]["kl_mean"] > 0
    assert report["control"]["kl_max"] == 0
    assert report["distillation"]["temperature"] == 2
    assert report["steps"]["traces"] > 0
    assert any("longer than 96 tokens" in note for note in report["notes"])
    assert report["tokens"] == sum(len(d.ids) - 1 for d in documents)
    assert np.isclose(report["overall"]["kl_mean"]["value"], report["distributions"][0]["mean"])
