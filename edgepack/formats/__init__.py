"""The workshop: formats behind one small Protocol, each a folder of its own.

protocol   Format, and the Plan it makes of a checkpoint and a scheme
stream     the one pass over the weights that carries plans out
artifact   what was written, as read back
digests    of files and of tensors
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgepack.errors import Missing, unknown
from edgepack.formats.artifact import Artifact, EncodingCount, FileRecord
from edgepack.formats.protocol import DEFAULTS, Exporter, Format, Options, Plan, Progress, Weights
from edgepack.formats.stream import Target, write

__all__ = [
    "DEFAULTS",
    "Artifact",
    "EncodingCount",
    "Exporter",
    "FileRecord",
    "Format",
    "Options",
    "Plan",
    "Progress",
    "Target",
    "Weights",
    "every",
    "holding",
    "is_artifact",
    "known",
    "named",
    "names_file",
    "write",
]


def _gguf() -> Format:
    from edgepack.formats.gguf import Gguf

    return Gguf()


def _mlx() -> Format:
    from edgepack.formats.mlx import Mlx

    return Mlx()


def _onnx() -> Format:
    from edgepack.formats.onnx import Onnx

    return Onnx()


_FORMATS: dict[str, Callable[[], Format]] = {"gguf": _gguf, "mlx": _mlx, "onnx": _onnx}


def known() -> tuple[str, ...]:
    """The names `--to` accepts."""
    return tuple(_FORMATS)


def every() -> tuple[Format, ...]:
    """All formats."""
    return tuple(make() for make in _FORMATS.values())


def named(name: str) -> Format:
    """The format of that name. Raises UsageError with a near match."""
    make = _FORMATS.get(name.lower())
    if make is None:
        raise unknown("format", name, known())
    return make()


def holding(entry: Path) -> Format:
    """The format of the artifact at `entry`. Raises Missing where there is none."""
    for form in every():
        if entry in form.find(entry.parent):
            return form
    raise Missing(f"{entry} is the first file of no artifact", f"known: {', '.join(known())}")


def is_artifact(path: Path) -> bool:
    """Whether the file at `path` begins as a format's only file does, or is empty yet."""
    from edgepack.formats.gguf.layout import MAGIC

    with path.open("rb") as file:
        return file.read(len(MAGIC)) in (b"", MAGIC)


def names_file(path: Path) -> bool:
    """Whether `path` has the suffix of a format whose artifacts are one file."""
    return bool(path.suffix) and any(path.suffix == make().suffix for make in _FORMATS.values())
