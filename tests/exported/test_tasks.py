"""Every task, exported from a tiny model and compared; encoder-decoders; interrupts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("optimum", reason="the extra `optimum` has an environment of its own")

from edgepack import fidelity, formats, models
from edgepack.errors import DamagedInput, OutputError, Unsupported
from edgepack.fidelity.outputs.reference import TransformerReference
from edgepack.formats.onnx import export
from edgepack.formats.onnx.files import EXPORT, graph_names, side_files
from edgepack.pipeline import staging
from edgepack.pipeline.tasks import TaskWork
from edgepack.quant.schemes.exported import F32, INT8

from .conftest import REPOSITORY, command

pytestmark = [pytest.mark.optimum, pytest.mark.filterwarnings("ignore")]
CONVERT = fidelity.profile("convert")


def silent(*_):
    pass


def exported(source, scheme, folder):
    """As the child process does it, but here: torch is imported once for all tests."""
    folder.mkdir(parents=True)
    export.main(str(source), str(folder), scheme.name)
    model = models.open_model(str(source))
    for path in side_files(model.root):
        shutil.copy(path, folder)
    return formats.named("onnx").inspect(folder / graph_names(model.outline)[0])


def measured(source, folder, artifact, corpus, profile=CONVERT):
    scales = TaskWork(str(source)).scales(corpus)
    (report,) = scales.measure([artifact.entry(folder)], profile, silent)
    return report


@pytest.mark.parametrize(
    ("name", "kind", "rows_of_a_text"),
    [
        ("BertModel", "hidden states", None),
        ("BertForSequenceClassification", "logits", 1),
        ("BertForQuestionAnswering", "logits", 2),
        ("BertForTokenClassification", "logits", None),
        ("BertForMaskedLM", "logits", None),
    ],
)
def test_a_float_export_of_every_task_is_at_the_noise_floor(
    tiny, tmp_path, corpus, name, kind, rows_of_a_text
):
    source = tiny(name)
    artifact = exported(source, F32, tmp_path / "out")
    assert (artifact.scheme, artifact.architecture) == ("F32", "bert")
    report = measured(source, tmp_path / "out", artifact, corpus)
    assert report.verdict == "pass", report.reasons
    assert report.outputs.kind == kind
    assert report.outputs.rows == (rows_of_a_text or 0) * 64 or report.tokens
    assert report.outputs.difference_max < 1e-4


def test_an_encoder_and_a_decoder_are_one_artifact(tiny, tmp_path, few):
    source = tiny("T5ForConditionalGeneration")
    artifact = exported(source, F32, tmp_path / "out")
    names = [record.path for record in artifact.files]
    assert names[:2] == ["encoder_model.onnx", "decoder_model.onnx"]
    assert (artifact.scheme, artifact.architecture) == ("F32", "t5")
    found = formats.named("onnx").find(tmp_path / "out")
    assert found == (tmp_path / "out" / "encoder_model.onnx",)
    report = measured(source, tmp_path / "out", artifact, few)
    assert report.overall.kl_mean.value < 1e-9
    assert report.overall.hard_flip_count == 0
    assert 8 < report.overall.tokens <= 8 * 64
    assert [span.scope for span in report.spans] == ["answer"]


def test_int8_of_an_encoder_decoder_is_packed_and_verified(run, tiny, tmp_path, few):
    source = tiny("T5ForConditionalGeneration")
    out = tmp_path / "out"
    done = run("pack", source, "--to", "onnx", "--bits", "8", "--corpus", few,
               "--allow-failed", "-o", out, "--json")  # fmt: skip
    assert done.code == 0, done.err
    (report,) = done.result["fidelity"]
    assert 1e-8 < report["overall"]["kl_mean"]["value"] < 0.01
    assert run("verify", out, "--source", source).code == 0
    staging.check_output(out, force=True)  # all of it is edgepack's, and may be replaced
    (out / "1_Pooling").mkdir()
    with pytest.raises(OutputError):
        staging.check_output(out, force=True)


def test_weights_that_are_missing_are_never_random(tiny, tmp_path):
    """transformers would make them up, and export and reference would be two models."""
    source = tiny("BertModel")
    config = json.loads((source / "config.json").read_text())
    config["architectures"] = ["BertForSequenceClassification"]
    (source / "config.json").write_text(json.dumps(config))
    with pytest.raises(DamagedInput, match="classifier"):
        exported(source, F32, tmp_path / "out")


def test_artifacts_of_another_task_are_refused(tiny, tmp_path, corpus):
    source = tiny("BertForMaskedLM")
    artifact = exported(source, INT8, tmp_path / "out")
    other = tiny("BertForQuestionAnswering")
    with pytest.raises(DamagedInput):
        measured(other, tmp_path / "out", artifact, corpus)


def test_what_torch_will_not_compute_is_refused(tiny):
    model = models.open_model(str(tiny("BertModel")))
    feed = {"input_ids": np.zeros((1, 129), np.int64)}
    with pytest.raises(Unsupported, match=f"{model.root}: transformers cannot run it: "):
        TransformerReference(model).outputs(feed)


def test_positions_counted_from_behind_the_padding(tiny, tmp_path, corpus):
    source = tiny("RobertaModel", pad_token_id=1, max_position_embeddings=66)
    assert models.open_model(str(source)).context_length == 64
    artifact = exported(source, F32, tmp_path / "out")
    assert measured(source, tmp_path / "out", artifact, corpus).verdict == "pass"


def started(model, out, *options, **streams):
    """`quantize`, when its exporter has begun."""
    process = subprocess.Popen(
        command("quantize", model, "--to", "onnx", *options, "-o", out),
        cwd=REPOSITORY,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        **streams,
    )
    patience = time.monotonic() + 60
    while not list(out.parent.glob(f"{out.name}.partial/{EXPORT}*")):
        assert process.poll() is None
        assert time.monotonic() < patience
        time.sleep(0.02)
    time.sleep(1)
    return process


def running():
    """All command lines, whole."""
    return subprocess.run(
        ["ps", "-ewwo", "args"], stdout=subprocess.PIPE, text=True, check=True
    ).stdout


@pytest.mark.skipif(sys.platform == "win32", reason="no ps")
def test_an_exporter_ends_with_the_run_that_started_it(run, tiny, minilm, tmp_path):
    out = tmp_path / "out"
    process = started(minilm, out, "--bits", "32")
    assert str(out) in running()
    process.kill()
    process.wait()
    done = run("quantize", tiny("BertModel"), "--to", "onnx", "--bits", "32", "-o", out)
    assert done.code == 0, done.err
    assert str(out) not in running()
    assert (out / "model.onnx").stat().st_size < 2**20
    assert {path.name for path in out.iterdir()} == {"config.json", "model.onnx", "tokenizer.json"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send")
def test_an_interrupt_ends_the_exporter_and_leaves_nothing(minilm, tmp_path):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    out = tmp_path / "out"
    process = started(minilm, out, "--bits", "8", stderr=subprocess.PIPE, text=True)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    signal.signal(signal.SIGINT, before)
    assert process.returncode == 130
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []
    assert str(out) not in running()
