"""The verb `pack`: choose, encode, measure, describe, publish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgepack import fidelity, formats, manifest
from edgepack.errors import EdgepackError, FidelityFailed, FidelityInconclusive, UsageError
from edgepack.fidelity import FidelityReport
from edgepack.formats import Artifact, Options
from edgepack.hardware import Hardware
from edgepack.manifest import Manifest, Measurement
from edgepack.memory import DEFAULT_CONTEXT, Fit
from edgepack.pipeline import staging
from edgepack.pipeline.choice import Choice, Chosen
from edgepack.pipeline.device import Target
from edgepack.pipeline.fit import Settings, Weighed
from edgepack.pipeline.progress import Report, silent
from edgepack.pipeline.verdicts import verdict_error
from edgepack.pipeline.work import Scales, Work, work_on


@dataclass(frozen=True, slots=True)
class PackRequest:
    """Everything `pack` was asked; `argv` is recorded in the manifest."""

    model: str
    out: Path
    choice: Choice = field(default_factory=Choice)
    target: Target = field(default_factory=Target)
    settings: Settings = field(default_factory=Settings)
    corpus: Path | None = None
    profile: str = "balanced"
    allow_failed: bool = False
    force: bool = False
    split_bytes: int | None = None
    argv: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Packed:
    """A package: its artifacts, and for each how it fits and what was measured.

    `error` is why it was not published, if it was not: `out` is then the folder left to look at.
    """

    out: Path
    device: str
    artifacts: tuple[Artifact, ...]
    fits: tuple[Fit, ...]
    reports: tuple[FidelityReport, ...]
    error: EdgepackError | None = None


def pack(request: PackRequest, report: Report = silent) -> Packed:
    """Turn a checkpoint into a package in OUT, or leave OUT as it was.

    Cheap questions come first: names, output, the fit by config.json alone, then the weights'
    headers, corpus, space. Raises what each step raises; a verdict other than pass is in the
    result, and leaves OUT.partial for inspection.
    """
    ready = _prepared(request)
    done: Packed | None = None
    try:
        with staging.staged(request.out, force=request.force) as folder:
            done, measured = _made(ready, request, folder, report)
            if done.error:
                raise done.error
            manifest.write(_described(ready, done, measured, request.argv), folder)
    except (FidelityFailed, FidelityInconclusive):
        assert done is not None
        return done
    return replace(done, out=request.out)


@dataclass(frozen=True, slots=True)
class _Ready:
    """A request whose every question is answered but the verdict."""

    work: Work
    hardware: Hardware
    weighed: tuple[Weighed, ...]
    options: Options
    scales: Scales
    limits: fidelity.Profile

    @property
    def chosen(self) -> Chosen:
        return [(weighed.form, weighed.scheme) for weighed in self.weighed]


def _prepared(request: PackRequest) -> _Ready:
    """Raises whatever can be known before a weight is encoded."""
    if formats.names_file(request.out):
        raise UsageError(f"{request.out} names a file", "a package is a folder: give one with -o")
    staging.check_output(request.out, force=request.force)
    limits = fidelity.profile(request.profile)
    options = Options(
        context=request.settings.context or DEFAULT_CONTEXT,
        importance=request.choice.importance(),
        split_bytes=request.split_bytes,
    )
    hardware = request.target.hardware()
    work = work_on(request.model)
    weighed = work.weigh(hardware, request.settings, request.choice)
    work.require([(w.form, w.scheme) for w in weighed])

    staging.check_source(request.out, work.sources)
    scales = work.scales(request.corpus)
    # again: the weights, which are here now, may say what config.json does not
    weighed = work.weigh(hardware, request.settings, request.choice)
    ready = _Ready(work, hardware, weighed, options, scales, limits)
    planned = work.plan(ready.chosen, options)
    staging.check_space(request.out, sum(p.space for p in planned))
    return ready


def _made(
    ready: _Ready, request: PackRequest, folder: Path, report: Report
) -> tuple[Packed, tuple[Measurement, ...]]:
    """The package in `folder`, all but its manifest."""
    artifacts = ready.work.write(ready.chosen, ready.options, folder, report)
    weighed = ready.work.settle(ready.weighed, artifacts, ready.hardware)
    measured = _measure(ready.scales, artifacts, folder, ready.limits, report)
    reports, fits = tuple(m.report for m in measured), tuple(w.fit for w in weighed)
    error = None if request.allow_failed else verdict_error(reports, folder)
    return Packed(folder, ready.hardware.name, artifacts, fits, reports, error), measured


def _described(
    ready: _Ready, done: Packed, measured: tuple[Measurement, ...], argv: tuple[str, ...]
) -> Manifest:
    """The source is hashed here: what it says of itself is what was read."""
    return manifest.compose(
        model=ready.work.model,
        source=manifest.source_records(ready.work.model),
        artifacts=done.artifacts,
        hardware=ready.hardware,
        deployments=tuple(weighed.deployment for weighed in ready.weighed),
        fits=done.fits,
        measurements=measured,
        corpus_sha256=ready.scales.sha256,
        argv=argv,
        exporter=ready.work.made_by(ready.chosen),
    )


def _measure(
    scales: Scales,
    artifacts: Sequence[Artifact],
    folder: Path,
    limits: fidelity.Profile,
    report: Report,
) -> tuple[Measurement, ...]:
    """Every artifact against one run of the reference; each report lies beside its artifact."""
    entries = [artifact.entry(folder) for artifact in artifacts]
    reports = scales.measure(entries, limits, report)
    return tuple(
        Measurement(found, manifest.write_report(found, folder, entry.parent))
        for found, entry in zip(reports, entries, strict=True)
    )
