"""What a probe may touch: the kernel's files and a few programs. Tests hand in their own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PROGRAM_SECONDS = 5.0


def run_program(command: Sequence[str]) -> str:
    """Standard output of `command`, "" if it is absent, hangs, or cannot start.

    Output beside a failing exit status is kept: `sysctl` fails for one unknown name among many.
    """
    import subprocess

    try:
        finished = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=PROGRAM_SECONDS,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return finished.stdout.decode("utf-8", "replace")


def load() -> float:
    """Programs that want to run, for each processor of the machine, over the last minute; 0 where
    the system does not count them."""
    try:
        return os.getloadavg()[0] / (os.cpu_count() or 1)
    except (AttributeError, OSError):  # Windows has none
        return 0.0


@dataclass(frozen=True, slots=True)
class Host:
    """Paths are relative to `root`, the root of the file system: `proc/cpuinfo`."""

    platform: str = sys.platform
    root: Path = Path("/")
    run: Callable[[Sequence[str]], str] = run_program
    load: Callable[[], float] = load

    def text(self, path: str) -> str | None:
        """The file's text without surrounding white space and NULs, or None if unreadable."""
        try:
            return (self.root / path).read_text("utf-8", "replace").strip().strip("\0")
        except (OSError, ValueError):  # ValueError: NUL in a path that another file gave
            return None

    def integer(self, path: str) -> int | None:
        """The file's decimal number, or None if it holds something else (`max`)."""
        return number(self.text(path))

    def entries(self, pattern: str) -> Iterator[str]:
        """Paths that match a glob pattern, sorted, for use with `text`."""
        for path in sorted(self.root.glob(pattern)):
            yield path.relative_to(self.root).as_posix()


def number(text: str | None) -> int | None:
    """A decimal number without a sign, or None for any other text."""
    return int(text) if text and text.isdecimal() else None


def sysctl(host: Host, *names: str) -> dict[str, str]:
    """macOS kernel variables by name; a name that is a node brings all below it."""
    lines = (line.partition(": ") for line in host.run(["sysctl", *names]).splitlines())
    return {name: value.strip() for name, colon, value in lines if colon}
