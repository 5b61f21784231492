"""The porch: arguments in, results out. The only floor that prints or exits."""

import os
import sys

# Idle BLAS threads spin for 30 ms by default, on the cores llama.cpp needs next: measured, the
# comparison of reference and artifact takes 3.6 times as long. Read when numpy is first imported.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")

INTERRUPTED = 130

__all__ = ["INTERRUPTED", "main"]


def main() -> None:
    """The `edgepack` command. Ctrl-C ends it with 130, from its imports to its last line."""
    try:
        # here, not above: most of a start is spent in these, and Ctrl-C may fall into them
        from edgepack.cli.app import app
        from edgepack.cli.streams import guarded_streams

        try:
            with guarded_streams():
                app(prog_name="edgepack")
        finally:
            _die_at_once()
    except KeyboardInterrupt:
        if sys.stderr:
            print("interrupted; nothing was published", file=sys.stderr)
        sys.exit(INTERRUPTED)
    finally:
        # An interrupt that passes through exec of a text, as dataclasses do, leaves a mark on which
        # Python ends with a signal, whatever was caught and whichever code was asked for. The next
        # exec takes it away.
        exec("")


def _die_at_once() -> None:
    """From here on Ctrl-C kills: the interpreter is leaving, and would print where it was."""
    import signal

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
