"""The verb `report`: an artifact's tensors against the checkpoint's, one by one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from edgepack import formats, models
from edgepack.errors import OutputError, Unsupported
from edgepack.fidelity.tensors import TensorReport, compare
from edgepack.models import Checkpoint, Source
from edgepack.pipeline.progress import Report, silent, staged_progress
from edgepack.pipeline.validate import artifact_entry

SCHEMA = "edgepack.tensors/1"


def report(artifact: str, reference: str, *, progress: Report = silent) -> TensorReport:
    """Compare ARTIFACT (a file, or the folder of one) with the checkpoint `reference`.

    Raises what opening and reading either raises; Unsupported for a model that is no decoder.
    """
    entry = artifact_entry(Path(artifact))
    return _compared(entry, artifact, models.open_model(reference), progress)


def check_report(path: Path, *, force: bool) -> None:
    """Raises OutputError where the report FILE may not be written, before hours of encoding."""
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise OutputError(f"{path} is no place for a file", "give another --report")
    if path.exists() and not force:
        raise OutputError(f"{path} exists", "choose another --report, or replace it with --force")


def write_report(path: Path, entries: Sequence[Path], source: Source, progress: Report) -> None:
    """Compare the artifacts at `entries` with their source, and write what was found as JSON.

    Raises OutputError where the disk refuses.
    """
    found = [_compared(entry, str(entry), source, progress) for entry in entries]
    content = {"schema": SCHEMA, "reports": [report.to_dict() for report in found]}
    try:
        path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
    except OSError as error:
        raise OutputError(f"{path}: cannot write: {error.strerror}", "check --report") from error


def _compared(entry: Path, named: str, source: Source, progress: Report) -> TensorReport:
    if not isinstance(source, Checkpoint):
        raise Unsupported(
            f"{source.name} is no decoder, and its tensors are exported by others' code",
            "validate compares what it computes",
        )
    form = formats.holding(entry)
    return compare(
        named, form.name, form.tensors(entry, source), source, staged_progress(progress, "compare")
    )
