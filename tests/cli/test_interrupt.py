"""Stopped by hand: exit 130, the earlier state, no half package."""

import os
import signal
import subprocess
import sys
import time

import pytest


@pytest.fixture(autouse=True)
def heard():
    """A child of a run in the background inherits that SIGINT is ignored; these must hear it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send")
def test_an_interrupted_pack_publishes_nothing_and_says_how_to_go_on(reasoner, tmp_path):
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "edgepack", "pack", reasoner, "-o", out],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    gguf = tmp_path / "out.partial" / "reasoner-Q8_0.gguf"
    patience = time.monotonic() + 120
    while not gguf.exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < patience
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "interrupted" in error
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == [tmp_path / "out.partial"]
    assert "the same command goes on from there" in error


INTERRUPTED_AT = """
import atexit, os, signal, sys
from importlib.abc import MetaPathFinder

moment, sys.argv[1:] = sys.argv[1], ["--help"]

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)

class Finder(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == moment:
            interrupt()

if moment == "exec":
    moment = "edgepack.cli.app"
    interrupt = lambda: exec("raise KeyboardInterrupt")
sys.meta_path.insert(0, Finder())
if moment == "exit":
    atexit.register(interrupt)
from edgepack.cli import main
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send")
@pytest.mark.parametrize(
    ("moment", "code", "told"),
    [
        ("edgepack.cli.app", 130, "interrupted; nothing was published\n"),
        ("typer", 130, "interrupted; nothing was published\n"),
        ("inspect", 130, "interrupted; nothing was published\n"),
        ("exec", 130, "interrupted; nothing was published\n"),  # as within dataclasses
        ("exit", -signal.SIGINT, ""),  # to a shell that is 130 too
    ],
)
def test_an_interrupt_while_starting_or_leaving(moment, code, told):
    program = [sys.executable, "-c", INTERRUPTED_AT, moment]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (code, told)
