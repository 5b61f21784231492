"""The verb `pack`: choose, encode, measure, describe, publish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgepack import fidelity, formats, manifest, models
from edgepack.errors import EdgepackError, FidelityFailed, FidelityInconclusive, UsageError
from edgepack.fidelity import FidelityReport
from edgepack.formats import Artifact
from edgepack.memory import Fit
from edgepack.pipeline import staging
from edgepack.pipeline.device import Target
from edgepack.pipeline.fit import Settings, fit_scheme
from edgepack.pipeline.progress import Report, silent
from edgepack.pipeline.quantize import write_all
from edgepack.pipeline.validate import measure, read_corpus
from edgepack.quant.schemes import scheme


@dataclass(frozen=True, slots=True)
class PackRequest:
    """Everything `pack` was asked; `scheme` may be `auto`, `argv` is recorded in the manifest."""

    model: str
    out: Path
    to: Sequence[str] = ("gguf",)
    scheme: str = "auto"
    target: Target = field(default_factory=Target)
    settings: Settings = field(default_factory=Settings)
    corpus: Path | None = None
    profile: str = "balanced"
    allow_failed: bool = False
    force: bool = False
    argv: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Packed:
    """A published package."""

    out: Path
    artifacts: tuple[Artifact, ...]
    fit: Fit
    device: str
    fidelity: FidelityReport


def pack(request: PackRequest, report: Report = silent) -> Packed:
    """Turn a checkpoint into a package in OUT, or leave OUT as it was.

    Cheap questions come first: names, output, device, corpus, space. Raises what each step
    raises; FidelityFailed or FidelityInconclusive leave OUT.partial for inspection.
    """
    if staging.is_file_name(request.out):
        raise UsageError(f"{request.out} names a file", "a package is a folder: give one with -o")
    staging.check_output(request.out, force=request.force)
    if request.scheme.lower() != "auto":
        scheme(request.scheme)  # an unknown name is said before anything is fetched
    targets = [formats.named(name) for name in dict.fromkeys(request.to)]
    limits = fidelity.profile(request.profile)
    hardware = request.target.hardware()
    checkpoint = models.open_checkpoint(request.model)
    deployment = request.settings.deployment(checkpoint.decoder)
    fit = fit_scheme(checkpoint.decoder, hardware, deployment, request.scheme)
    chosen = scheme(fit.scheme)
    corpus = read_corpus(checkpoint, request.corpus)
    planned = sum(target.planned_bytes(checkpoint, chosen) for target in targets)
    staging.check_space(request.out, planned)

    with staging.staged(request.out, force=request.force) as folder:
        artifacts = write_all(checkpoint, targets, chosen, folder, report)
        measured = measure(artifacts[0].entry(folder), checkpoint, corpus, limits, report)
        report_file = manifest.write_report(measured, folder)
        if not request.allow_failed:
            _require_pass(measured, folder)
        source = manifest.source_records(checkpoint)
        described = manifest.compose(
            checkpoint=checkpoint,
            source=source,
            artifacts=artifacts,
            hardware=hardware,
            deployment=deployment,
            fit=fit,
            report=measured,
            report_file=report_file,
            corpus_sha256=corpus.sha256,
            argv=request.argv,
        )
        manifest.write(described, folder)
    return Packed(request.out, artifacts, fit, hardware.name, measured)


def _require_pass(report: FidelityReport, folder: Path) -> None:
    error = verdict_error(report)
    if error:
        error.hint = f"{folder} is left for inspection; --allow-failed publishes it all the same"
        raise error


def verdict_error(report: FidelityReport) -> EdgepackError | None:
    """The error that a verdict other than pass stands for."""
    reasons = "; ".join(report.reasons[:3])
    if report.verdict == "fail":
        return FidelityFailed(f"fidelity failed ({report.profile}): {reasons}")
    if report.verdict in ("inconclusive", "not_run"):
        return FidelityInconclusive(
            f"fidelity {report.verdict} ({report.profile}): {reasons}",
            "measure on more documents: --corpus FILE",
        )
    return None
