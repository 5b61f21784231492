"""Standard output that is full, closed, or no longer read."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")

FULL = "edgepack: standard output cannot be written: No space left on device\n"
COMMANDS = [
    ("profiles", "list"),
    ("profiles", "show", "pi5-8gb"),
    ("profiles", "list", "--json"),
    ("--help",),
    ("--version",),
    ("fit", "fixtures/reasoner", "--device", "pi5-8gb", "--json"),  # longer than a buffer
    ("fit", "fixtures/absent", "--json"),
]


def shell(command, *arguments):
    """Exit code and stderr of a shell's `command`, in which "$@" is `edgepack ARGUMENTS`."""
    done = subprocess.run(
        ["sh", "-c", command, "sh", sys.executable, "-m", "edgepack", *arguments],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_full_disk_is_one_line(arguments):
    assert shell('exec "$@" >/dev/full', *arguments) == (1, FULL)


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_reader_that_left_is_told_nothing(arguments):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "edgepack", *arguments],
        cwd=Path(__file__).parents[2],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_closed_output_is_refused_before_any_work():
    code, said = shell('exec "$@" >&-', "fit", "fixtures/reasoner")
    assert (code, said) == (1, "edgepack: standard output cannot be written: it is closed\n")


def test_a_closed_stderr_loses_the_message_and_no_more():
    assert shell('exec "$@" 2>&-', "fit", "fixtures/absent") == (6, "")


def test_the_error_of_another_file_is_not_taken_for_ours(tmp_path):
    """A broken pipe that a command meets elsewhere keeps its traceback."""
    program = (
        "import sys; from edgepack.cli.streams import guarded_streams\n"
        "with guarded_streams():\n    print('out'); raise BrokenPipeError('elsewhere')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == "out\n"
    assert "BrokenPipeError: elsewhere" in done.stderr
