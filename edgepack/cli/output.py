"""Results on stdout, everything else on stderr: text, one JSON envelope, or a path alone."""

from __future__ import annotations

import errno
import functools
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, ParamSpec, get_type_hints

import typer

from edgepack import __version__
from edgepack.cli import INTERRUPTED
from edgepack.errors import EdgepackError, UsageError

ENVELOPE = "edgepack.result/1"
# What the system says of a name that no file can have, met by whatever looks at the path first.
BAD_NAME = (errno.ENAMETOOLONG, errno.ELOOP)

P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command found: `data` for `--json`, `text` to read, `path` for `-q`."""

    data: dict[str, Any]
    text: Callable[[], None]
    path: str = ""
    error: EdgepackError | None = None  # a result that is also a failure, as a failed verdict is


def command(function: Callable[P, Answer]) -> Callable[P, None]:
    """Make a verb a command: print its Answer, turn errors into messages and exit codes."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        as_json, quiet = bool(kwargs.get("as_json")), bool(kwargs.get("quiet"))
        try:
            _refuse_empty(function, kwargs)
            answer = function(*args, **kwargs)
        except EdgepackError as error:
            fail(error, as_json=as_json, name=function.__name__)
        except OSError as error:
            if error.errno not in BAD_NAME:
                raise
            refusal = UsageError(f"{error.filename}: {error.strerror}", "give another path")
            fail(refusal, as_json=as_json, name=function.__name__)
        except KeyboardInterrupt as stop:
            notes = getattr(stop, "__notes__", [])
            print("; ".join(("interrupted; nothing was published", *notes)), file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        show(answer, as_json=as_json, quiet=quiet, name=function.__name__)

    return run


def _refuse_empty(function: Callable[..., Answer], given: Mapping[str, object]) -> None:
    """UsageError for a text that is empty: in a pipeline, a variable that is not set, and a gate
    that would stand open."""
    for name, value in given.items():
        texts = value if isinstance(value, list) else [value]
        if any(isinstance(text, str) and not text.strip() for text in texts):
            raise UsageError(
                f"{_typed(function, name)} is empty", "give it a value, or leave it out"
            )


def _typed(function: Callable[..., Answer], name: str) -> str:
    """A parameter as it is typed: `--kv`, or an argument's `MODEL`."""
    from typer.models import ArgumentInfo, OptionInfo

    for told in get_type_hints(function, include_extras=True)[name].__metadata__:
        if isinstance(told, ArgumentInfo):
            return (told.metavar or name).strip("[]")
        if isinstance(told, OptionInfo):
            named = (option for option in told.param_decls or () if option.startswith("--"))
            return next(named, f"--{name.replace('_', '-')}")
    return name


def show(answer: Answer, *, as_json: bool, quiet: bool, name: str) -> None:
    """Print an Answer; exits with its error's code where it carries one."""
    if as_json:
        print_envelope(name, answer.data, answer.error)
    elif quiet:
        if answer.path:
            print(answer.path)
    else:
        answer.text()
    if answer.error:
        if not as_json:
            explain(answer.error)
        raise typer.Exit(answer.error.exit_code)


def fail(error: EdgepackError, *, as_json: bool, name: str) -> NoReturn:
    """Say what is wrong and what to do; exit with the error's code."""
    if as_json:
        print_envelope(name, None, error)
    else:
        explain(error)
    if os.environ.get("EDGEPACK_DEBUG"):
        traceback.print_exception(error)
    raise typer.Exit(error.exit_code) from error


def explain(error: EdgepackError) -> None:
    print(f"edgepack: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"  hint: {error.hint}", file=sys.stderr)


def print_envelope(name: str, data: dict[str, Any] | None, error: EdgepackError | None) -> None:
    """One JSON object: schema, command, whether it is well, the result, the error."""
    envelope: dict[str, Any] = {
        "schema": ENVELOPE,
        "edgepack": __version__,
        "command": name.removesuffix("_command"),
        "ok": error is None,
    }
    if data is not None:
        envelope["result"] = data
    if error:
        envelope["error"] = {
            "code": error.code,
            "exit_code": error.exit_code,
            "message": error.message,
            "hint": error.hint,
        }
    print(json.dumps(envelope, indent=2, allow_nan=False))


@contextmanager
def progress(*, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar per stage on stderr where that is a terminal; silence elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield lambda stage, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    from edgepack.quant import kernels

    columns = (TextColumn("{task.description:<10}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done)

        told: list[str] = []

        def compiling(name: str) -> None:
            if not told:
                bars.console.print("compiling encoders for this processor, which happens once")
            told.append(name)

        with kernels.listening(compiling):
            yield report
