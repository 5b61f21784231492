"""The verb `quantize`: a checkpoint encoded into artifacts, from one read of its weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from edgepack import formats
from edgepack.errors import UsageError
from edgepack.formats import DEFAULTS, Artifact, Options, Target, Weights
from edgepack.pipeline.choice import Choice, Chosen
from edgepack.pipeline.progress import Report, silent, staged_progress
from edgepack.pipeline.staging import check_output, check_source, check_space, staged
from edgepack.pipeline.work import work_on


@dataclass(frozen=True, slots=True)
class Planned:
    """One artifact that would be written; another program's is near `size`, not of it.

    `temporary` bytes more are on the disk while it is.
    """

    format: str
    scheme: str
    size: int
    exact: bool = True
    temporary: int = 0

    @property
    def space(self) -> int:
        return self.size + self.temporary


@dataclass(frozen=True, slots=True)
class Quantized:
    """What was written, or for a dry run would be (`artifacts` is then empty)."""

    out: Path
    planned: tuple[Planned, ...]
    artifacts: tuple[Artifact, ...]

    @property
    def planned_bytes(self) -> int:
        return sum(planned.size for planned in self.planned)


def quantize(
    model: str,
    choice: Choice,
    out: Path,
    *,
    options: Options = DEFAULTS,
    force: bool = False,
    dry_run: bool = False,
    tensors: Path | None = None,
    report: Report = silent,
) -> Quantized:
    """Write `model` in every chosen format to OUT: one file, or a folder.

    With `tensors`, a file, what was written is compared with `model` before it is published.

    Raises UsageError for unknown names, OutputError for an existing OUT or too little space, and
    whatever opening or reading the checkpoint raises; OUT is then as it was.
    """
    work = work_on(model)
    chosen = work.schemes(choice)
    if formats.names_file(out):
        _check_one_file(out, chosen, options)
    check_output(out, force=force)
    check_source(out, work.sources)
    if tensors:
        from edgepack.pipeline.tensors import check_report, write_report

        check_report(tensors, out, work, force=force)
    options = replace(options, importance=choice.importance())
    planned = work.plan(chosen, options)
    if dry_run:
        return Quantized(out, planned, ())
    check_space(out, sum(p.space for p in planned))
    with staged(out, force=force) as folder:
        artifacts = work.write(chosen, options, folder, report)
        if tensors:
            entries = {_published(artifact, out): artifact.entry(folder) for artifact in artifacts}
            write_report(tensors, entries, work.weights, report)
    if formats.names_file(out):
        artifacts = tuple(_renamed(artifact, out.name) for artifact in artifacts)
    return Quantized(out, planned, artifacts)


def _check_one_file(out: Path, chosen: Chosen, options: Options) -> None:
    if options.split_bytes is not None:
        raise UsageError(
            f"{out} is one file, --split-max-size may make several", "give a folder with -o"
        )
    if len(chosen) > 1:
        raise UsageError(f"{out} is one file for {len(chosen)} formats", "give a folder with -o")
    ((form, _),) = chosen
    if form.suffix != out.suffix:
        raise UsageError(f"{out} names a file, {form.name} is a folder", "give a folder with -o")


def plan(model: Weights, chosen: Chosen, options: Options) -> tuple[Planned, ...]:
    """What would be written, and its exact bytes."""
    plans = ((form, scheme, form.plan(model, scheme, options)) for form, scheme in chosen)
    return tuple(
        Planned(form.name, scheme.name, sum(file.size for file in made.files))
        for form, scheme, made in plans
    )


def write(
    model: Weights, chosen: Chosen, options: Options, folder: Path, report: Report
) -> tuple[Artifact, ...]:
    """Every artifact in `folder`, described as read back; a folder each where there are several.

    The paths in the artifacts are relative to `folder`.
    """
    places = [folder / form.name if len(chosen) > 1 else folder for form, _ in chosen]
    for place in places:
        place.mkdir(exist_ok=True)
    targets = [
        Target(form, scheme, place, options)
        for (form, scheme), place in zip(chosen, places, strict=True)
    ]
    artifacts = formats.write(model, targets, staged_progress(report, "write"), folder)
    return tuple(
        artifact.within(place.relative_to(folder))
        for artifact, place in zip(artifacts, places, strict=True)
    )


def _published(artifact: Artifact, out: Path) -> Path:
    """Where the entry of `artifact` will be."""
    return out if formats.names_file(out) else artifact.entry(out)


def _renamed(artifact: Artifact, name: str) -> Artifact:
    """An artifact of one file, under the name it was published as."""
    (record,) = artifact.files
    return replace(artifact, files=(replace(record, path=name),))
