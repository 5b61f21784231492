"""Tables on a terminal that is narrower than they are."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("fcntl", reason="Windows has no pseudo-terminals")

STYLES = re.compile(r"\x1b\[[0-9;]*m")


def on_a_terminal(columns, *arguments):
    """What `edgepack ARGUMENTS` writes to a terminal of so many columns, without its styles."""
    import fcntl
    import pty
    import struct
    import termios

    reader, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": str(columns)}
    with subprocess.Popen(
        [sys.executable, "-m", "edgepack", *arguments],
        cwd=Path(__file__).parents[2],
        env=environment,
        stdout=terminal,
    ):
        os.close(terminal)
        pieces = []
        while piece := _read(reader):
            pieces.append(piece)
    os.close(reader)
    return STYLES.sub("", b"".join(pieces).decode())


def _read(reader):
    try:
        return os.read(reader, 65536)
    except OSError:  # how Linux says that the other end was closed
        return b""


@pytest.mark.parametrize("columns", [20, 60, 200])
def test_no_column_of_a_table_is_cut(columns):
    written = on_a_terminal(columns, "fit", "fixtures/reasoner", "--device", "pi5-8gb")
    assert "…" not in written
    rows = [line.split() for line in written.splitlines()]
    (row,) = (row for row in rows if row[:1] == ["Q4_K_M"])
    assert row[-7:] == ["1,245", "to", "2,351", "8,162", "to", "32,650", "balanced"]
