"""Models that are known by their task: exported by optimum, described as any ONNX artifact is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import edgepack
from edgepack.errors import (
    DamagedInput,
    EdgepackError,
    Missing,
    OutputError,
    Unsupported,
    missing_extra,
)
from edgepack.formats.artifact import Artifact
from edgepack.formats.onnx.files import EXPORT, graph_names, graphs_at, side_files
from edgepack.formats.onnx.reader import inspect
from edgepack.formats.onnx.tensors import LARGEST_MODEL
from edgepack.formats.output import disk_error
from edgepack.formats.protocol import Progress
from edgepack.models import TaskModel
from edgepack.quant.schemes import Scheme, Schemes, exported
from edgepack.quant.schemes.exported import F32, stored_bytes

__all__ = ["Exported"]

PACKAGES: Final = {"optimum.exporters.onnx": "optimum-onnx", "torch": "torch"}
NAMED: Final = ("optimum-onnx", "transformers", "torch", "onnxruntime")
CHILD: Final = "edgepack.formats.onnx.export"
FAILURES: Final[tuple[type[EdgepackError], ...]] = (DamagedInput, Missing, Unsupported)


class Exported:
    """Export through optimum in a process of its own.

    torch and transformers take gigabytes, print, warn and start threads; they do so elsewhere, and
    are gone before anything is measured.
    """

    schemes: Schemes = exported
    suffix = ".onnx"

    @property
    def version(self) -> str:
        return ", ".join(f"{package} {version(package)}" for package in NAMED)

    def graphs(self, entry: Path) -> tuple[Path, ...]:
        return graphs_at(entry)

    def require(self) -> None:
        """Raises Missing where the extra is not installed."""
        for module, package in PACKAGES.items():
            if not _is_installed(module):
                raise missing_extra(package, "optimum")

    def temporary(self, model: TaskModel, scheme: Scheme) -> int:
        """onnxruntime copies the float32 graph, and removes the copy before it writes the other."""
        return 0 if scheme == F32 else 2 * _stored(model, F32) - _stored(model, scheme)

    def write(self, model: TaskModel, scheme: Scheme, folder: Path, progress: Progress) -> Artifact:
        """Export `model` into `folder`, described as read back.

        Raises Missing without the extra, Unsupported for what optimum cannot export, DamagedInput
        for weights that do not belong to config.json, OutputError where the disk refuses.
        """
        self.require()
        if _stored(model, F32) > LARGEST_MODEL:
            raise Unsupported(
                f"{model.root}: exported in float32 it is larger than one ONNX file can be (2 GiB)",
                "take a smaller model",
            )
        names = graph_names(model.outline)
        steps = len(names) + 1
        progress(0, steps)
        try:
            # a name of its own: no other run's exporter writes into it, nor this one into another's
            with TemporaryDirectory(prefix=EXPORT, dir=folder) as work:
                _export(model, scheme, Path(work))
                progress(steps - 1, steps)
                for name in names:
                    (Path(work) / name).replace(folder / name)
            _copy_side_files(model, folder)
        except OSError as error:
            raise disk_error(Path(error.filename or folder), error) from error
        progress(steps, steps)
        return inspect(folder / names[0])


def _stored(model: TaskModel, scheme: Scheme) -> int:
    return sum(stored_bytes(scheme, ref.shape) for ref in model.tensors.values())


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its parent is not there
        return False


def _export(model: TaskModel, scheme: Scheme, folder: Path) -> None:
    """Run the child to its end; an interrupt, or any other error here, is the end of it too."""
    command = (sys.executable, "-P", "-m", CHILD, model.root, folder, scheme.name)
    home = str(Path(edgepack.__file__).parents[1])  # the child runs this edgepack, and no other
    paths = os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))
    with subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.PIPE,  # ends with this process, and the child with it
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={
            **os.environ,
            "PYTHONPATH": paths,
            "HF_HUB_OFFLINE": "1",
            "PYTHONWARNINGS": "ignore",
        },
    ) as child:
        assert child.stdout is not None
        try:
            output = child.stdout.read().decode("utf-8", "replace")
        except BaseException:
            child.kill()
            child.wait()
            raise
    if child.returncode:
        raise _failure(model.root, child.returncode, output)


def _failure(root: Path, status: int, output: str) -> EdgepackError:
    """The child's error, by its exit status and the last line of its output."""
    said = (output.strip().splitlines() or [f"it ended with {status}"])[-1]
    if status < 0:
        said = f"killed by signal {-status} (out of memory?)"
    code, _, message = said.partition(": ")
    if code == OutputError.code:
        return OutputError(message, "free some space, or choose another -o")
    kind = next((kind for kind in FAILURES if kind.code == code), None)
    return (kind or Unsupported)(
        f"{root}: optimum could not export it: {message if kind else said}",
        "python -m optimum.exporters.onnx exports it, or says more of why it cannot",
    )


def _copy_side_files(model: TaskModel, folder: Path) -> None:
    for path in side_files(model.root):
        copy = folder / path.relative_to(model.root)
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, copy)
