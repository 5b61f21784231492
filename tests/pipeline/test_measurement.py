"""`fit --measure` below the command line: what is refused before it runs, what is compared."""

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from edgepack.errors import DoesNotFit, Missing, Unsupported, UsageError
from edgepack.fidelity.runtimes import llama_library
from edgepack.fidelity.runtimes.trial import Buffers, Trial
from edgepack.hardware import Accelerator, Figure, detect
from edgepack.memory import Deployment, Speed
from edgepack.pipeline import measurement
from edgepack.pipeline.choice import Choice
from edgepack.pipeline.device import Target
from edgepack.pipeline.fit import Settings
from edgepack.pipeline.measurement import measure
from edgepack.pipeline.quantize import quantize
from edgepack.units import MIB

RAN = Trial("llama.cpp", 1, 0.1, 512, 1000.0, 100, 50.0, 20 * MIB, 9, Buffers(1, 2, 3, 4, 5))


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Where temporary folders are made: what is left there was left behind."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def ran(monkeypatch):
    """What was run, and how; nothing really is."""
    calls = []

    def run(entry, deployment, cores=None):
        assert entry.read_bytes()[:4] == b"GGUF"
        calls.append((entry, deployment))
        return RAN

    monkeypatch.setattr(measurement, "run_trial", run)
    return calls


@pytest.fixture(scope="module")
def half(reasoner, tmp_path_factory):
    path = tmp_path_factory.mktemp("half") / "half.gguf"
    quantize(str(reasoner), Choice(scheme="F16"), path)
    return path


def test_a_gguf_is_run_where_it_lies(half, ran, temporary):
    found = measure(str(half), Target(), Settings(context=1024, kv_type="q8_0", slots=2), Choice())
    assert ran == [(half, Deployment(1024, "q8_0", "q8_0", 2))]
    assert found.table.rows[0].scheme.name == "F16"
    assert found.trial is RAN
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("choice", "scheme"),
    [
        (Choice(), "Q4_K_M"),
        (Choice(scheme="Q6_K"), "Q6_K"),
        (Choice(bits=3), "Q3_K_M"),
        (Choice(to=("gguf:Q5_K_M",)), "Q5_K_M"),
        (Choice(scheme="auto"), "Q8_0"),
    ],
)
def test_a_checkpoint_is_written_first_and_removed_again(reasoner, ran, temporary, choice, scheme):
    stages = []
    found = measure(
        str(reasoner), Target(), Settings(), choice, report=lambda stage, *_: stages.append(stage)
    )
    ((entry, deployment),) = ran
    assert entry.parent.parent == temporary
    assert entry.name == f"reasoner-{scheme}.gguf"
    assert deployment == Deployment(2048)
    assert found.table.rows[0].scheme.name == scheme
    assert {"write", "measure"} <= set(stages)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("target", "choice", "said"),
    [
        (Target("pi5-8gb"), Choice(), "--device"),
        (Target(memory_bytes=1 << 30), Choice(), "--memory"),
        (Target(bandwidth=1 << 30), Choice(), "--bandwidth"),
        (Target(), Choice(to=("mlx",)), "--to gguf"),
        (Target(), Choice(to=("gguf", "onnx")), "--to gguf"),
    ],
)
def test_what_cannot_be_run_here(reasoner, ran, target, choice, said):
    with pytest.raises(UsageError) as caught:
        measure(str(reasoner), target, Settings(), choice)
    assert said in caught.value.hint
    assert ran == []


def test_without_the_runtime_nothing_is_written(reasoner, temporary, monkeypatch):
    monkeypatch.setattr(llama_library, "WHEEL", "no_such_wheel")
    with pytest.raises(Missing) as caught:
        measure(str(reasoner), Target(), Settings(), Choice())
    assert "pip install" in caught.value.hint
    assert list(temporary.iterdir()) == []


def test_what_does_not_fit_is_not_run(half, ran, monkeypatch):
    small = replace(detect(measure_bandwidth=False), available=Figure(20 * MIB, "probed"))
    monkeypatch.setattr(Target, "hardware", lambda self: small)
    with pytest.raises(DoesNotFit):
        measure(str(half), Target(), Settings(), Choice())
    assert ran == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Unsupported("it died"), OSError(5, "x")])
def test_whatever_happens_nothing_is_left(reasoner, temporary, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(measurement, "run_trial", fail)
    with pytest.raises(type(error)):
        measure(str(reasoner), Target(), Settings(), Choice())
    assert list(temporary.iterdir()) == []


def test_a_card_is_left_out_of_the_prediction(half, ran, monkeypatch):
    """The runtime here works on the processor, so that is what is predicted."""
    known = Figure(1 << 40, "probed")
    card = Accelerator("card", "nvidia", known, known, known, unified=False)
    with_card = replace(detect(measure_bandwidth=False), accelerators=(card,))
    monkeypatch.setattr(Target, "hardware", lambda self: with_card)
    found = measure(str(half), Target(), Settings(), Choice())
    assert found.table.rows[0].fit.place == "CPU"


def test_figures_that_follow(half, ran, monkeypatch):
    known = replace(detect(measure_bandwidth=False), bandwidth=Figure(10**9, "measured"))
    monkeypatch.setattr(Target, "hardware", lambda self: known)
    found = measure(str(half), Target(), Settings(), Choice())
    law = found.footprint
    assert found.allocated == law.total - law.overhead
    assert found.efficiency == pytest.approx(RAN.decode * found.read / 10**9)
    assert found.decode_full == pytest.approx(found.efficiency * 10**9 / found.read_full)
    assert found.read_full > found.read  # the cache is deeper
    assert isinstance(found.decode, Speed)
    assert found.decode.low > found.table.rows[0].fit.decode.low
    assert found.difference == law.total / RAN.peak - 1


def test_whether_it_held(half, ran):
    found = measure(str(half), Target(), Settings(), Choice())
    law = found.footprint
    parts = Buffers(law.weights, law.kv, law.state, law.compute, law.output)

    def with_trial(**changes):
        return replace(found, trial=replace(RAN, **changes))

    exact = with_trial(buffers=parts, peak=law.total)
    assert (exact.exact, exact.enough) == (True, True)
    more = with_trial(buffers=replace(parts, kv=law.kv + 17 * MIB), peak=law.total + 17 * MIB)
    assert (more.exact, more.enough) == (False, False)
    less = with_trial(buffers=replace(parts, weights=law.weights + 15 * MIB), peak=law.total // 2)
    assert (less.exact, less.enough) == (True, True)


def test_a_file_that_is_not_there(ran):
    with pytest.raises(Missing):
        measure("no.gguf", Target(), Settings(), Choice())
    assert not Path("no.gguf").exists()
