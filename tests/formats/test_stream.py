"""The pass over the weights: whole, in order, and stopped by the first error."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from edgepack import formats
from edgepack.formats import slabs as module
from edgepack.formats.slabs import slabs
from edgepack.formats.stream import in_order
from edgepack.models import TensorRef, open_checkpoint
from edgepack.units import MIB


def test_results_come_in_the_order_of_the_jobs():
    def job(number):
        time.sleep(0.002 * (number % 3))
        return number

    jobs = (lambda n=n: job(n) for n in range(40))
    assert list(in_order(jobs, threads=4)) == list(range(40))


def test_no_jobs():
    assert list(in_order(iter(()))) == []


def test_only_a_few_jobs_are_ahead():
    """Results not yet taken are memory: the next job is asked for when one is."""
    asked = []

    def jobs():
        for number in range(100):
            asked.append(number)
            yield lambda n=number: n

    results = in_order(jobs(), threads=2)
    assert next(results) == 0
    assert len(asked) <= 4
    results.close()


def test_the_first_error_is_raised_and_the_rest_is_not_run():
    ran = []

    def job(number):
        ran.append(number)
        if number == 3:
            raise ValueError("job 3")
        if number == 4:
            raise ValueError("job 4")
        return number

    results = in_order((lambda n=n: job(n) for n in range(1000)), threads=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="job 3"):
        next(results)
    assert len(ran) < 10
    assert threading.active_count() == 1 + sum(
        thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()
    )


def test_a_failing_source_of_jobs_is_raised():
    def jobs():
        yield lambda: 0
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        list(in_order(jobs(), threads=1))


@pytest.mark.parametrize(("rows", "multiple"), [(1, 1), (10, 1), (10, 4), (64, 8), (7, 64)])
def test_slabs_cover_every_row_once(tmp_path, monkeypatch, rows, multiple):
    monkeypatch.setattr(module, "SLAB_ELEMENTS", 30)
    ref = TensorRef("w", "F32", (rows, 10), tmp_path / "w", 0, rows * 40)
    cut = list(slabs(ref, multiple))
    assert [row for slab in cut for row in range(slab.start, slab.stop)] == list(range(rows))
    assert all((slab.stop - slab.start) % multiple == 0 for slab in cut[:-1])
    assert all(slab.stop - slab.start <= max(3, multiple) for slab in cut)


def test_three_artifacts_take_one_read_of_every_slab(builder, tmp_path, monkeypatch):
    source = open_checkpoint(str(builder.write(tmp_path / "model", "llama", hidden_size=64)))
    read, original = [], TensorRef.read_stored

    def read_stored(ref, start=0, stop=None):
        read.append((ref.name, start))
        return original(ref, start, stop)

    monkeypatch.setattr(TensorRef, "read_stored", read_stored)
    monkeypatch.setattr(module, "SLAB_ELEMENTS", 640)
    targets = []
    for name in formats.known():
        (tmp_path / name).mkdir()
        form = formats.named(name)
        targets.append(formats.Target(form, form.schemes.at(8), tmp_path / name))
    formats.write(source, targets, lambda done, total: None)
    assert len(read) == len(set(read)) > len(source.tensors)


GROWING = """
import sys
from pathlib import Path
from edgepack import formats, models
checkpoint, form = models.open_checkpoint(sys.argv[1]), formats.named(sys.argv[2])
target = formats.Target(form, form.schemes.at(4), Path(sys.argv[3]))
formats.write(checkpoint, [target], lambda done, total: None)
with open("/proc/self/status") as status:  # getrusage remembers the process that forked this one
    print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("name", formats.known())
def test_peak_memory_is_that_of_slabs_not_of_tensors(builder, tmp_path, name):
    """An embedding eight times as large, 192 MiB more of float32, costs next to nothing."""
    peaks = []
    for vocabulary in (16_000, 128_000):
        folder = tmp_path / str(vocabulary)
        values = builder.config("qwen2", hidden_size=512, vocab_size=vocabulary)
        tensors = builder.weights(values | {"vocab_size": 8})
        tensors["model.embed_tokens.weight"] = np.zeros((vocabulary, 512), np.float32)
        tokenizer = builder.byte_level_tokenizer(290)
        model = builder.write(
            folder / "model", "qwen2", tensors=tensors, tokenizer=tokenizer,
            hidden_size=512, vocab_size=vocabulary,
        )  # fmt: skip
        (folder / "out").mkdir()
        arguments = [sys.executable, "-c", GROWING, str(model), name, str(folder / "out")]
        done = subprocess.run(arguments, capture_output=True, text=True, check=True)
        peaks.append(1024 * int(done.stdout))
    assert peaks[1] - peaks[0] < 40 * MIB
