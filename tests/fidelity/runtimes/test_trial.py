"""A few seconds in the real llama.cpp, in a process of its own; and how such a process can end."""

import json
import os
import sys
import time
from dataclasses import replace
from textwrap import indent

import pytest

from edgepack import formats, memory
from edgepack.errors import DamagedInput, DoesNotFit, Missing, Unsupported
from edgepack.fidelity.runtimes import llama_library, trial
from edgepack.fidelity.runtimes.trial import Buffers, run_trial
from edgepack.memory import Deployment
from edgepack.models import open_checkpoint
from edgepack.quant.schemes.gguf import scheme
from edgepack.units import MIB

pytest.importorskip("xllamacpp", reason="xllamacpp has no wheel here")
TOLD = 0.01 * MIB  # llama.cpp tells its buffers to two decimals, each of some


@pytest.fixture(scope="module")
def decoder(reasoner):
    return open_checkpoint(str(reasoner)).decoder


@pytest.fixture(scope="module")
def entry(reasoner, written, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trial")
    artifact = written(
        formats.named("gguf"), open_checkpoint(str(reasoner)), scheme("Q4_K_M"), folder
    )
    return artifact.entry(folder)


@pytest.mark.parametrize(
    "deployment",
    [
        Deployment(2048),
        Deployment(1000, kv_type_k="q8_0", kv_type_v="q8_0", slots=2),
        Deployment(2048, slots=4, unified=False, program="llama-server"),
        Deployment(300, kv_type_k="f32", kv_type_v="f32", flash_attention=False, micro_batch=64),
    ],
)
def test_it_runs_what_was_predicted(entry, decoder, deployment):
    found = run_trial(entry, deployment)
    law = memory.footprint(decoder, scheme("Q4_K_M"), deployment)
    assert abs(found.buffers.kv - law.kv) <= TOLD
    assert abs(found.buffers.weights - law.weights) <= 2 * TOLD
    assert abs(found.buffers.output - law.output) <= TOLD
    assert abs(found.buffers.total - (law.total - law.overhead)) <= 16 * MIB
    assert found.peak <= law.total + 16 * MIB
    room = deployment.context // deployment.streams
    assert found.prompt == min(512, room // 2)
    assert 1 <= found.decoded <= room - found.prompt
    assert found.depth == found.prompt + found.decoded
    assert min(found.prefill, found.decode, found.load_seconds) > 0


def test_the_peak_is_its_own(entry):
    """Not this process's, however much it holds while it starts the other."""
    held = bytearray(256 * MIB)
    found = run_trial(entry, Deployment(512))
    assert 0 < found.peak < 100 * MIB
    assert 0 < found.beside < len(held)


def test_modules_in_the_working_directory_are_not_its_own(entry, tmp_path, monkeypatch):
    (tmp_path / "random.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    assert run_trial(entry, Deployment(512)).decoded


def test_a_longer_context_takes_its_cache(entry):
    short, long = (run_trial(entry, Deployment(context)) for context in (2048, 16384))
    cache = long.buffers.kv - short.buffers.kv
    assert long.peak - short.peak == pytest.approx(cache, rel=0.1)


def test_what_llama_cpp_refuses_is_said_once(entry, tmp_path):
    torn = tmp_path / "torn.gguf"
    torn.write_bytes(entry.read_bytes()[:-100_000])
    with pytest.raises(DamagedInput) as caught:
        run_trial(torn, Deployment(512))
    assert str(torn) in caught.value.message
    assert "cannot load it" in caught.value.message
    assert caught.value.hint


def test_without_the_runtime(entry, monkeypatch):
    monkeypatch.setattr(llama_library, "WHEEL", "no_such_wheel")
    with pytest.raises(Missing) as caught:
        run_trial(entry, Deployment(512))
    assert "pip install" in caught.value.hint


@pytest.fixture
def ending(monkeypatch, tmp_path):
    """`ending(code)`: the process runs `code` instead."""

    def end(code):
        body = indent(code or "pass", "    ")
        (tmp_path / "ending.py").write_text(f"import os, signal, sys\ndef main(bare):\n{body}\n")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setattr(trial, "PROCESS", "ending")

    return end


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to die of")
@pytest.mark.parametrize(
    ("code", "error", "said"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", DoesNotFit, "memory ran out"),
        ("sys.stderr.write('std::bad_alloc'); os.abort()", DoesNotFit, "memory ran out"),
        ("bytearray(1 << 62)", DoesNotFit, "memory ran out"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", Unsupported, "ended of SIGSEGV"),
        ("sys.stderr.write('GGML_ASSERT(x) failed'); os.abort()", Unsupported, "GGML_ASSERT(x)"),
        ("sys.exit(3)", Unsupported, "with exit code 3"),
        ("print('no result')", Unsupported, "with exit code 0"),
        ("", Unsupported, "with exit code 0"),
        (
            'print(\'{"error": {"kind": "Unsupported", "hint": "", '
            '"message": "no context: failed to allocate buffer"}}\')',
            DoesNotFit,
            "failed to allocate",
        ),
    ],
)
def test_a_process_that_dies_is_one_clear_error(ending, entry, code, error, said):
    ending(code)
    with pytest.raises(error) as caught:
        run_trial(entry, Deployment(512))
    assert said in caught.value.message
    assert caught.value.hint
    assert "\n" not in caught.value.message


@pytest.mark.skipif(sys.platform == "win32", reason="processes are looked up in POSIX's way")
def test_interrupted_it_leaves_no_process(ending, entry, monkeypatch, tmp_path):
    ending(
        "import time\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
        "time.sleep(600)"
    )
    popen = trial.subprocess.Popen

    class Interrupted(popen):
        def communicate(self, *arguments, **settings):
            while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
                time.sleep(0.01)
            raise KeyboardInterrupt

    monkeypatch.setattr(trial.subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_trial(entry, Deployment(512))
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_what_the_process_says_is_read_back():
    some = trial.Trial("x", 1, 0.5, 5, 2.0, 3, 4.0, 100, 50, Buffers(1, 2, 3, 4, 5))
    text = json.dumps(trial.told(some)).encode()
    assert trial._result("x", 0, b"printed by a library\n" + text, "") == some
    assert replace(some, decoded=4).depth == 9
