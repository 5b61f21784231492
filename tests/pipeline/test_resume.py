"""Interrupted at any point, the same command goes on where it was, to the same bytes."""

from __future__ import annotations

import errno
import itertools
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgepack import formats
from edgepack.errors import DamagedInput, OutputError
from edgepack.formats import output, slabs
from edgepack.formats.journal import NAME, Journal, allocated
from edgepack.formats.output import DiskFull
from edgepack.pipeline.choice import Choice
from edgepack.pipeline.quantize import quantize

SLAB = 2048
FOUR_BITS = Choice(to=("gguf", "mlx"), bits=4, group=32)
KILLED = f"""
import os, signal, sys
from pathlib import Path
from edgepack.formats import journal, output, slabs
from edgepack.pipeline.choice import Choice
from edgepack.pipeline.quantize import quantize

slabs.SLAB_ELEMENTS = {SLAB}
left = int(sys.argv[1])
write, finish = output._write_whole, journal.Journal.finish

def last():
    global left
    left -= 1
    return left == 0

def half_written(file, data, offset):
    if last():
        write(file, memoryview(data).cast("B")[: memoryview(data).nbytes // 2], offset)
        os.kill(os.getpid(), signal.SIGKILL)
    write(file, data, offset)

def not_noted(self, count):
    if last():
        os.kill(os.getpid(), signal.SIGKILL)
    finish(self, count)

output._write_whole, journal.Journal.finish = half_written, not_noted
quantize(sys.argv[2], Choice(to=("gguf", "mlx"), bits=4, group=32), Path(sys.argv[3]))
"""


@pytest.fixture
def model(builder, tmp_path, monkeypatch):
    monkeypatch.setattr(slabs, "SLAB_ELEMENTS", SLAB)
    return builder.write(tmp_path / "model", "llama", hidden_size=64, intermediate_size=256)


def content(folder):
    """Every file's bytes, and every folder."""
    return {
        path.relative_to(folder): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def stop_after(monkeypatch, count):
    """The journal notes `count` slabs, then the user loses patience."""
    finish = Journal.finish

    def interrupted(self, slabs_done):
        finish(self, slabs_done)
        if slabs_done == count:
            raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "finish", interrupted)


@pytest.fixture
def encoded(monkeypatch):
    """The number of slabs encoded so far, in a list of one."""
    count, run = [0], slabs._read_and_encode

    def counting(*arguments):
        count[0] += 1
        return run(*arguments)

    monkeypatch.setattr(slabs, "_read_and_encode", counting)
    return count


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_killed_at_twenty_points(model, tmp_path):
    """In the middle of a write, and between a write and its note."""
    quantize(str(model), FOUR_BITS, tmp_path / "whole")
    out, points = tmp_path / "out", random.Random(os.environ.get("CI") and 4)
    kills = 0
    while kills < 20:
        left = points.randint(1, 30)
        arguments = [sys.executable, "-c", KILLED, str(left), str(model), str(out)]
        done = subprocess.run(arguments, capture_output=True, text=True)
        if done.returncode == 0:  # it had less left to do
            assert content(out) == content(tmp_path / "whole")
            out = tmp_path / f"out{kills}"
            continue
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert not out.exists()
        kills += 1
    quantize(str(model), FOUR_BITS, out)
    assert content(out) == content(tmp_path / "whole")


def test_only_the_rest_is_encoded(model, tmp_path, monkeypatch, encoded):
    quantize(str(model), FOUR_BITS, tmp_path / "whole")
    slabs_in_all, encoded[0] = encoded[0], 0
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt) as stopped:
        stop_after(patch, slabs_in_all + 1 - 5)  # one more: GGUF's own rotary factors
        quantize(str(model), FOUR_BITS, tmp_path / "out")
    assert "out.partial is kept" in stopped.value.__notes__[0]
    assert allocated(tmp_path / "out.partial") > 0
    encoded[0], told = 0, []
    quantize(
        str(model), FOUR_BITS, tmp_path / "out",
        report=lambda stage, done, total: told.append((done, total)),
    )  # fmt: skip
    assert encoded[0] == 5
    assert told[0][0] > told[0][1] // 2
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert not (tmp_path / "out" / NAME).exists()


def full_after(monkeypatch, count):
    """The disk takes `count` writes, and no more until the patch ends."""
    write, taken = output._write_at, itertools.count()

    def refused(file, data, offset):
        if next(taken) >= count:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(file, data, offset)

    monkeypatch.setattr(output, "_write_at", refused)


def test_a_full_disk_leaves_what_was_written_and_the_earlier_package(
    model, tmp_path, monkeypatch, encoded
):
    out = tmp_path / "out"
    quantize(str(model), FOUR_BITS, tmp_path / "whole")
    slabs_in_all, encoded[0] = encoded[0], 0
    quantize(str(model), Choice(to=("gguf",), bits=8), out)
    earlier = content(out)
    with monkeypatch.context() as patch, pytest.raises(DiskFull) as refused:
        full_after(patch, 60)
        quantize(str(model), FOUR_BITS, out, force=True)
    assert "no space left" in refused.value.message
    assert "out.partial is kept: the same command goes on from there" in refused.value.hint
    assert content(out) == earlier
    encoded[0] = 0
    quantize(str(model), FOUR_BITS, out, force=True)
    assert 0 < encoded[0] < slabs_in_all
    assert content(out) == content(tmp_path / "whole")


@pytest.mark.parametrize("full", ["while encoding", "at the end"])
def test_what_the_disk_did_not_take_is_not_resumed(model, tmp_path, monkeypatch, full):
    """It had said yes to the writes: what of them is there, nobody knows."""

    def refused(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if full == "while encoding":
        monkeypatch.setattr(output, "FLUSHED", 1)
    monkeypatch.setattr(os, "fsync", refused)
    with pytest.raises(OutputError, match="did not reach the disk"):
        quantize(str(model), FOUR_BITS, tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


def test_a_full_disk_that_lost_what_it_took_is_not_resumed(model, tmp_path, monkeypatch):
    def refused(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    full_after(monkeypatch, 60)
    monkeypatch.setattr(os, "fsync", refused)
    with pytest.raises(DiskFull) as found:
        quantize(str(model), FOUR_BITS, tmp_path / "out")
    assert "goes on" not in found.value.hint
    assert not list(tmp_path.glob("out*"))


def test_another_scheme_starts_over_and_leaves_nothing_of_the_first(
    model, tmp_path, monkeypatch, encoded
):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_after(patch, 7)
        quantize(str(model), FOUR_BITS, tmp_path / "out")
    other = Choice(to=("gguf",), bits=8)
    quantize(str(model), other, tmp_path / "whole")
    before = encoded[0]
    quantize(str(model), other, tmp_path / "out")
    assert encoded[0] - before > 7
    assert content(tmp_path / "out") == content(tmp_path / "whole")


@pytest.mark.parametrize("to", ["gguf", "onnx"])
def test_another_config_starts_over(builder, tmp_path, monkeypatch, to):
    """What follows from it alone, tables and factors of rotary angles, comes first of all slabs."""
    choice, models = Choice(to=(to,), scheme="F32"), {}
    for theta in (500.0, 10000.0):
        models[theta] = builder.write(tmp_path / f"{theta}", "llama", rope_theta=theta)
    quantize(str(models[500.0]), choice, tmp_path / "whole")
    model = models[10000.0]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_after(patch, 7)
        quantize(str(model), choice, tmp_path / "out")
    (model / "config.json").write_bytes((models[500.0] / "config.json").read_bytes())
    quantize(str(model), choice, tmp_path / "out")
    found, expected = content(tmp_path / "out"), content(tmp_path / "whole")
    assert list(found.values()) == list(expected.values()) or to == "gguf"
    form = formats.named(to)
    (ours,), (theirs,) = (form.find(tmp_path / name) for name in ("out", "whole"))
    assert form.inspect(ours).tensor_digest == form.inspect(theirs).tensor_digest


def test_a_journal_speaks_of_nothing_outside_its_folder(model, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "out.partial").mkdir()
    journal = {"plan": "x", "files": {"../victim": 4}}
    (tmp_path / "out.partial" / NAME).write_text(json.dumps(journal) + "\n0\n")
    quantize(str(model), FOUR_BITS, tmp_path / "out")
    assert victim.read_text() == "mine"


@pytest.mark.parametrize("change", ["touch", "cut", "journal"])
def test_a_changed_source_or_a_damaged_remainder_starts_over(
    model, tmp_path, monkeypatch, encoded, change
):
    quantize(str(model), FOUR_BITS, tmp_path / "whole")
    in_all = encoded[0]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_after(patch, 7)
        quantize(str(model), FOUR_BITS, tmp_path / "out")
    partial = tmp_path / "out.partial"
    if change == "touch":
        os.utime(model / "model.safetensors", ns=(1, 1))
    elif change == "cut":
        (gguf,) = (partial / "gguf").iterdir()
        os.truncate(gguf, 1000)
    else:
        path: Path = partial / NAME
        path.write_bytes(path.read_bytes()[:-3])
    encoded[0] = 0
    quantize(str(model), FOUR_BITS, tmp_path / "out")
    assert encoded[0] == in_all
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_another_matrix_of_importance_starts_over(model, tmp_path, monkeypatch, encoded):
    """Its bytes count, and nothing else of the file tells two of them apart."""
    path = tmp_path / "imatrix.gguf"
    choice = Choice(scheme="Q4_0", imatrix=path)
    write_importance(path, 1)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_after(patch, 7)
        quantize(str(model), choice, tmp_path / "out")
    write_importance(path, 2)
    quantize(str(model), choice, tmp_path / "whole")
    before = encoded[0]
    quantize(str(model), choice, tmp_path / "out")
    assert encoded[0] - before > 7
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def write_importance(path, seed):
    """Of two layers, as llama-imatrix writes it."""
    writer = pytest.importorskip("gguf").GGUFWriter(path, "none")
    writer.add_array("imatrix.datasets", ["made up"])
    writer.add_uint32("imatrix.chunk_count", 1)
    random = np.random.default_rng(seed)
    roles = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    for name in (f"blk.{layer}.{role}.weight" for layer in range(2) for role in roles):
        columns = 256 if "down" in name else 64
        writer.add_tensor(f"{name}.in_sum2", random.random(columns).astype(np.float32))
        writer.add_tensor(f"{name}.counts", np.ones((1, 1), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_gguf_as_source_is_resumed_too(model, tmp_path, monkeypatch, encoded):
    source, choice = tmp_path / "model-F16.gguf", Choice(scheme="Q4_0")
    quantize(str(model), Choice(scheme="F16"), source)
    encoded[0] = 0
    quantize(str(source), choice, tmp_path / "whole")
    slabs_in_all = encoded[0]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_after(patch, slabs_in_all - 5)
        quantize(str(source), choice, tmp_path / "out")
    encoded[0] = 0
    quantize(str(source), choice, tmp_path / "out")
    assert encoded[0] == 5
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_a_source_rewritten_while_it_is_read_is_no_source(model, tmp_path, monkeypatch):
    """Neither the old weights nor the new ones would be in the artifact."""
    finish, weights = Journal.finish, model / "model.safetensors"

    def rewriting(self, count):
        finish(self, count)
        if count == 3:
            with weights.open("r+b") as file:
                file.seek(-4, os.SEEK_END)
                file.write(b"\0\0\0\0")

    monkeypatch.setattr(Journal, "finish", rewriting)
    with pytest.raises(DamagedInput, match="changed while it was read"):
        quantize(str(model), FOUR_BITS, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_force_replaces_neither_the_source_nor_what_is_no_artifact(model, tmp_path):
    gguf, notes = tmp_path / "a.gguf", tmp_path / "notes.gguf"
    quantize(str(model), Choice(scheme="F16"), gguf)
    notes.write_text("precious")
    before = gguf.read_bytes()
    with pytest.raises(OutputError, match="is the source itself"):
        quantize(str(gguf), Choice(scheme="Q8_0"), gguf, force=True)
    with pytest.raises(OutputError, match="somebody else"):
        quantize(str(gguf), Choice(scheme="Q8_0"), notes, force=True)
    assert (gguf.read_bytes(), notes.read_text()) == (before, "precious")
    folder = tmp_path / "folder"
    quantize(str(model), Choice(scheme="F16"), folder)
    (held,) = folder.iterdir()
    with pytest.raises(OutputError, match="or holds it"):
        quantize(str(held), Choice(scheme="Q8_0"), folder, force=True)
    assert held.read_bytes() == before


@pytest.mark.parametrize("place", ["model/config.json", "out/report.json", "out"])
def test_a_report_replaces_only_a_report(model, tmp_path, place):
    kept = {path: path.read_bytes() for path in model.iterdir()}
    with pytest.raises(OutputError):
        quantize(
            str(model),
            Choice(scheme="Q8_0"),
            tmp_path / "out",
            tensors=tmp_path / place,
            force=True,
        )
    assert {path: path.read_bytes() for path in model.iterdir()} == kept
    report = tmp_path / "report.json"
    for _ in range(2):
        quantize(str(model), Choice(scheme="Q8_0"), tmp_path / "made", tensors=report, force=True)
