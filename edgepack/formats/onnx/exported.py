"""Models that are known by their task: exported by optimum, described as any ONNX artifact is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
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
from edgepack.formats.protocol import Progress
from edgepack.models import TaskModel
from edgepack.quant.schemes import Scheme, Schemes, exported
from edgepack.quant.schemes.exported import F32, stored_bytes

__all__ = ["Exported"]

PACKAGES: Final = {"optimum.exporters.onnx": "optimum-onnx", "torch": "torch"}
NAMED: Final = ("optimum-onnx", "transformers", "torch", "onnxruntime")
CHILD: Final = "edgepack.formats.onnx.export"
LOG: Final = "export.log"
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

    def write(self, model: TaskModel, scheme: Scheme, folder: Path, progress: Progress) -> Artifact:
        """Export `model` into `folder`, described as read back.

        Raises Missing without the extra, Unsupported for what optimum cannot export, DamagedInput
        for weights that do not belong to config.json, OutputError where the disk refuses.
        """
        self.require()
        if sum(stored_bytes(F32, ref.shape) for ref in model.tensors.values()) > LARGEST_MODEL:
            raise Unsupported(
                f"{model.root}: exported in float32 it is larger than one ONNX file can be (2 GiB)",
                "take a smaller model",
            )
        steps = len(graph_names(model.outline)) + 1
        progress(0, steps)
        try:
            (folder / EXPORT).mkdir()
            _export(model, scheme, folder)
            progress(steps - 1, steps)
            _copy_side_files(model, folder)
            shutil.rmtree(folder / EXPORT)
        except OSError as error:
            raise OutputError(f"{folder}: {error.strerror}", "check -o") from error
        progress(steps, steps)
        return inspect(folder / graph_names(model.outline)[0])


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its parent is not there
        return False


def _export(model: TaskModel, scheme: Scheme, folder: Path) -> None:
    """Run the child to its end; an interrupt, or any other error here, is the end of it too."""
    log = folder / EXPORT / LOG
    command = (sys.executable, "-P", "-m", CHILD, model.root, folder, scheme.name)
    home = str(Path(edgepack.__file__).parents[1])  # the child runs this edgepack, and no other
    paths = os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))
    with log.open("wb") as output:
        done = subprocess.run(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
            env={
                **os.environ,
                "PYTHONPATH": paths,
                "HF_HUB_OFFLINE": "1",
                "PYTHONWARNINGS": "ignore",
            },
        )
    if done.returncode:
        lines = log.read_text("utf-8", "replace").strip().splitlines()
        reason = lines[-1] if lines else f"it ended with {done.returncode}"
        kind = next((kind for kind in FAILURES if kind.exit_code == done.returncode), Unsupported)
        raise kind(
            f"{model.root}: optimum could not export it: {reason}",
            "python -m optimum.exporters.onnx exports it, or says more of why it cannot",
        )


def _copy_side_files(model: TaskModel, folder: Path) -> None:
    for path in side_files(model.root):
        copy = folder / path.relative_to(model.root)
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, copy)
