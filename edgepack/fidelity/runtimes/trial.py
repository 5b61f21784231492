"""A few seconds of a GGUF in llama.cpp, as it would be deployed: how fast, in how much memory.

A process of its own runs it, `trial_process`: its peak is then its own, and a runtime that the
system kills takes nobody with it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from edgepack import errors
from edgepack.errors import DoesNotFit, EdgepackError, Unsupported
from edgepack.fidelity.runtimes import llama_library
from edgepack.fidelity.runtimes.threads import usable_cores
from edgepack.memory import Deployment

PROCESS: Final = "edgepack.fidelity.runtimes.trial_process"
START: Final = """
try:
    with open("/proc/self/status") as status:
        bare = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
except OSError:
    bare = 0
from {process} import main
main(1024 * bare)
"""
"""What a bare interpreter has is looked up before anything is imported."""

MEMORY_SAID: Final = ("bad_alloc", "failed to allocate", "MemoryError", "out of memory")
"""What llama.cpp, ggml, C++ and Python say where there is no more."""


@dataclass(frozen=True, slots=True)
class Buffers:
    """Bytes that llama.cpp says it allocated, to 0.01 MiB each."""

    weights: int
    kv: int
    state: int
    compute: int
    output: int

    @property
    def total(self) -> int:
        return self.weights + self.kv + self.state + self.compute + self.output


@dataclass(frozen=True, slots=True)
class Trial:
    """What was found: seconds, tokens, tokens per second, bytes.

    `depth` is the number of tokens in the cache at the last one decoded. `peak` is the most that
    was resident at once, less `beside`, what this program's own modules had taken before; a bare
    interpreter is left in, as the memory law has it, in place of the program around llama.cpp.
    Weights were read, not mapped, so that pages of a file that were repacked do not count twice.
    """

    runtime: str
    threads: int
    load_seconds: float
    prompt: int
    prefill: float
    decoded: int
    decode: float
    peak: int
    beside: int
    buffers: Buffers

    @property
    def depth(self) -> int:
        return self.prompt + self.decoded


def run_trial(entry: Path, deployment: Deployment, cores: int | None = None) -> Trial:
    """Load the GGUF at `entry` as `deployment` has it, read a prompt, decode for some seconds.

    At most `cores` threads work, where that is known. Raises Missing without the runtime, what the
    runtime raises on the file, DoesNotFit where memory ran out, Unsupported where it died
    otherwise. Interrupted, it leaves no process.
    """
    llama_library.require()
    threads = min(usable_cores(), cores or usable_cores())
    request = {"path": str(entry), "deployment": asdict(deployment), "threads": threads}
    with subprocess.Popen(
        [sys.executable, "-P", "-c", START.format(process=PROCESS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_environment(),
    ) as process:
        try:
            out, said = process.communicate(json.dumps(request).encode())
        except BaseException:
            process.kill()
            raise
    return _result(entry, process.returncode, out, said.decode(errors="replace"))


def _environment() -> Mapping[str, str]:
    """This process's, in which the same edgepack is found."""
    root = str(Path(errors.__file__).parents[1])
    kept = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, kept)))}


def _result(entry: Path, code: int, out: bytes, said: str) -> Trial:
    lines = out.splitlines()  # a library may print too; the result is the last
    try:
        found = json.loads(lines[-1]) if code == 0 and lines else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise _died(entry, code, said)
    if "error" in found:
        raise _error(found["error"])
    return Trial(**{**found, "buffers": Buffers(**found["buffers"])})


def _died(entry: Path, code: int, said: str) -> EdgepackError:
    """The error for a process that left no result."""
    last = (said.strip().splitlines() or [""])[-1][:300]
    killed = -code == getattr(signal, "SIGKILL", None)
    if killed or any(each in said for each in MEMORY_SAID):
        return DoesNotFit(
            f"{entry}: llama.cpp was stopped while it ran: memory ran out",
            "close other programs, or give a smaller --ctx or a smaller scheme",
        )
    how = f"of {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    return Unsupported(
        f"{entry}: llama.cpp ended {how} while it ran{f': {last}' if last else ''}",
        "`edgepack fit` without --measure predicts what it needs",
    )


def _error(told: Mapping[str, str]) -> EdgepackError:
    """What the process raised, raised here."""
    if any(each in told["message"] for each in MEMORY_SAID):
        return DoesNotFit(told["message"], "give a smaller --ctx or a smaller scheme")
    return KINDS.get(told["kind"], EdgepackError)(told["message"], told["hint"])


KINDS: Final[Mapping[str, type[EdgepackError]]] = MappingProxyType(
    {kind.__name__: kind for kind in EdgepackError.__subclasses__()}
)


def told(result: Trial | EdgepackError) -> dict[str, Any]:
    """What the process says of its result, for `run_trial` to read."""
    if isinstance(result, EdgepackError):
        kind = type(result).__name__
        return {"error": {"kind": kind, "message": result.message, "hint": result.hint}}
    return {field.name: getattr(result, field.name) for field in fields(result)} | {
        "buffers": asdict(result.buffers)
    }
