"""The verb `report`: an artifact's tensors against the checkpoint's, one by one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from edgepack import formats
from edgepack.errors import OutputError
from edgepack.fidelity.tensors import TensorReport, compare
from edgepack.formats import Weights
from edgepack.pipeline.progress import Report, silent, staged_progress
from edgepack.pipeline.validate import artifact_entry
from edgepack.pipeline.work import work_on

SCHEMA = "edgepack.tensors/1"


def report(artifact: str, reference: str, *, progress: Report = silent) -> TensorReport:
    """Compare ARTIFACT (a file, or the folder of one) with the model `reference`.

    Raises what opening and reading either raises; Unsupported for a model that is no decoder.
    """
    entry = artifact_entry(Path(artifact))
    return _compared(entry, artifact, work_on(reference).weights, progress)


def check_report(path: Path, *, force: bool) -> None:
    """Raises OutputError where the report FILE may not be written, before hours of encoding."""
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise OutputError(f"{path} is no place for a file", "give another --report")
    if path.exists() and not force:
        raise OutputError(f"{path} exists", "choose another --report, or replace it with --force")


def write_report(path: Path, entries: Sequence[Path], model: Weights, progress: Report) -> None:
    """Compare the artifacts at `entries` with `model`, and write what was found as JSON.

    Raises OutputError where the disk refuses.
    """
    found = [_compared(entry, str(entry), model, progress) for entry in entries]
    content = {"schema": SCHEMA, "reports": [report.to_dict() for report in found]}
    try:
        path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
    except OSError as error:
        raise OutputError(f"{path}: cannot write: {error.strerror}", "check --report") from error


def _compared(entry: Path, named: str, model: Weights, progress: Report) -> TensorReport:
    form = formats.holding(entry)
    return compare(
        named, form.name, form.tensors(entry, model), model, staged_progress(progress, "compare")
    )
