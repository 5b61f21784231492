"""The verb `quantize`: a checkpoint encoded into one file or a folder of artifacts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgepack import formats, models
from edgepack.errors import UsageError
from edgepack.formats import Artifact, Format
from edgepack.models import Checkpoint
from edgepack.pipeline.progress import Report, silent, staged_progress
from edgepack.pipeline.staging import check_output, check_space, is_file_name, staged
from edgepack.quant.schemes import Scheme, scheme


@dataclass(frozen=True, slots=True)
class Quantized:
    """What was written, or for a dry run would be (`artifacts` is then empty)."""

    out: Path
    scheme: str
    planned_bytes: int
    artifacts: tuple[Artifact, ...]


def quantize(
    model: str,
    to: Sequence[str],
    scheme_name: str,
    out: Path,
    *,
    force: bool = False,
    dry_run: bool = False,
    report: Report = silent,
) -> Quantized:
    """Write `model` in every format of `to` under OUT, which is one file if it ends in `.gguf`.

    Raises UsageError for unknown names, OutputError for an existing OUT or too little space, and
    whatever opening or reading the checkpoint raises; OUT is then as it was.
    """
    targets = [formats.named(name) for name in dict.fromkeys(to)]
    chosen = scheme(scheme_name)
    if is_file_name(out) and len(targets) > 1:
        raise UsageError(f"{out} is one file for {len(targets)} formats", "give a folder with -o")
    check_output(out, force=force)
    checkpoint = models.open_checkpoint(model)
    planned = sum(target.planned_bytes(checkpoint, chosen) for target in targets)
    if dry_run:
        return Quantized(out, chosen.name, planned, ())
    check_space(out, planned)
    with staged(out, force=force) as folder:
        artifacts = write_all(checkpoint, targets, chosen, folder, report)
    if is_file_name(out):
        artifacts = tuple(renamed(artifact, out.name) for artifact in artifacts)
    return Quantized(out, chosen.name, planned, artifacts)


def renamed(artifact: Artifact, name: str) -> Artifact:
    """An artifact of one file, under the name it was published as."""
    (record,) = artifact.files
    return replace(artifact, files=(replace(record, path=name),))


def write_all(
    checkpoint: Checkpoint,
    targets: Sequence[Format],
    chosen: Scheme,
    folder: Path,
    report: Report,
) -> tuple[Artifact, ...]:
    """Every format's artifact in `folder`, described as read back from disk."""
    return tuple(
        target.write(checkpoint, chosen, folder, staged_progress(report, f"write {target.name}"))
        for target in targets
    )
