"""`edgepack fit --measure` with the real runtime, as a terminal sees it."""

import os
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("xllamacpp", reason="xllamacpp has no wheel here")


@pytest.fixture(scope="module")
def small(run, reasoner, tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "reasoner-Q4_K_M.gguf"
    assert run("quantize", reasoner, "--scheme", "Q4_K_M", "-o", path).code == 0
    return path


def test_predicted_beside_measured(run, small):
    done = run("fit", small, "--measure", "--ctx", 1024)
    assert done.code == 0, done.err
    for told in ("predicted", "measured", "weights", "KV cache", "peak of the process", "prefill",
                 "decode, ", "tokens deep", "the prediction held"):  # fmt: skip
        assert told in done.out, done.out
    assert done.err == ""


def test_as_json(run, reasoner, tmp_path):
    done = run("fit", reasoner, "--measure", "--scheme", "Q8_0", "--json", TMPDIR=str(tmp_path))
    assert done.code == 0, done.err
    (row,) = done.result["fits"]
    found = done.result["measurement"]
    assert (row["scheme"], row["place"]) == ("Q8_0", "CPU")
    assert (found["exact"], found["enough"]) == (True, True)
    assert found["buffers"]["kv"] == row["footprint"]["kv"]
    assert found["depth"] == found["prompt"] + found["decoded"]
    assert min(found["decode"], found["prefill"], found["load_seconds"], found["peak"]) > 0
    assert found["predicted_decode"]["low"] > row["decode"]["low"]
    assert found["efficiency"] > 0
    assert list(tmp_path.iterdir()) == []


def test_what_is_required_is_held_to_the_prediction(run, small):
    done = run("fit", small, "--measure", "--require", "ctx>=100000", "--json")
    assert done.code == 3
    assert done.result["measurement"]["decode"] > 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("SMALL", "--device", "pi5-8gb"), 2, "leave out --device"),
        (("SMALL", "--to", "mlx"), 2, "measure with --to gguf"),
        (("SMALL", "--scheme", "Q6_K"), 2, "weighed as it is"),
        (("SMALL", "--kv", "q9"), 2, "q9"),
        ((), 2, "name it"),
        (("SMALL", "--draft", "SMALL"), 2, "no --draft"),
        (("no.gguf",), 6, "no such file"),
    ],
)
def test_what_is_refused(run, small, arguments, code, said):
    given = (small if argument == "SMALL" else argument for argument in arguments)
    done = run("fit", *given, "--measure")
    assert (done.code, said in done.err) == (code, True), done.err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send")
def test_interrupted_it_leaves_nothing(reasoner, tmp_path):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # children must hear it
    process = subprocess.Popen(
        [sys.executable, "-m", "edgepack", "fit", reasoner, "--measure"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "TMPDIR": str(tmp_path)},
    )
    signal.signal(signal.SIGINT, before)
    patience = time.monotonic() + 120
    while not any(tmp_path.rglob("*.gguf")):
        assert process.poll() is None
        assert time.monotonic() < patience
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []
