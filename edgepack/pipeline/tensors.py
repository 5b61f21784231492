"""The verb `report`: an artifact's tensors against the checkpoint's, one by one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from edgepack import formats
from edgepack.errors import EdgepackError, FidelityFailed, OutputError
from edgepack.fidelity.tensors import TensorReport, compare
from edgepack.formats import Weights
from edgepack.models.config import read_json
from edgepack.pipeline.progress import Report, silent, staged_progress
from edgepack.pipeline.validate import artifact_entry
from edgepack.pipeline.work import Work, work_on

SCHEMA = "edgepack.tensors/1"


def report(artifact: str, reference: str, *, progress: Report = silent) -> TensorReport:
    """Compare ARTIFACT (a file, or the folder of one) with the model `reference`.

    Raises what opening and reading either raises; Unsupported for a model that is no decoder.
    """
    entry = artifact_entry(Path(artifact))
    return _compared(entry, artifact, work_on(reference).weights, progress)


def misplaced_error(found: TensorReport) -> FidelityFailed | None:
    """The error that tensors stand for which are not the reference's, however encoded."""
    if not found.misplaced:
        return None
    names = ", ".join(found.misplaced[:3]) + (", ..." if len(found.misplaced) > 3 else "")
    return FidelityFailed(
        f"{len(found.misplaced)} of {len(found.tensors)} tensors are not the model's: {names}",
        "the artifact is of another model, or its layout is wrong",
    )


def check_report(path: Path, out: Path, work: Work, *, force: bool) -> None:
    """Whether there can be a report in the file `path`: asked before hours of encoding.

    Raises OutputError where it may not be written: even `force` replaces only another report.
    Raises Unsupported for a model that is no decoder.
    """
    whole = out.absolute()
    if whole in (path.absolute(), *path.absolute().parents):
        raise OutputError(f"{path} is in {out}", "a report stands beside what it is about")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise OutputError(f"{path} is no place for a file", "give another --report")
    if path.exists() and not force:
        raise OutputError(f"{path} exists", "choose another --report, or replace it with --force")
    if path.exists() and not _is_report(path):
        raise OutputError(f"{path} is no report", "--force does not replace it")
    _ = work.weights


def write_report(
    path: Path, entries: Mapping[Path, Path], model: Weights, progress: Report
) -> None:
    """Compare artifacts with `model`, and write what was found as JSON.

    `entries` maps where artifacts will be to where they are. Raises OutputError where the disk
    refuses.
    """
    found = [_compared(entry, str(name), model, progress) for name, entry in entries.items()]
    content = {"schema": SCHEMA, "reports": [report.to_dict() for report in found]}
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutputError(f"{path}: cannot write: {error.strerror}", "check --report") from error


def _is_report(path: Path) -> bool:
    try:
        return bool(read_json(path).get("schema") == SCHEMA)
    except EdgepackError:
        return False


def _compared(entry: Path, named: str, model: Weights, progress: Report) -> TensorReport:
    form = formats.holding(entry)
    return compare(
        named, form.name, form.tensors(entry, model), model, staged_progress(progress, "compare")
    )
