"""A `Manifest` from the nouns of the house below."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version

from edgepack import __version__
from edgepack.fidelity import FidelityReport
from edgepack.formats import Artifact, FileRecord
from edgepack.hardware import Hardware
from edgepack.manifest.folder import measured
from edgepack.manifest.manifest import (
    SCHEMA,
    FidelitySection,
    FitPart,
    FitSection,
    Manifest,
    MemorySection,
    ModelSection,
    ToolchainSection,
    WeightBytes,
    digest_of,
    weight_bytes,
)
from edgepack.manifest.toml import text_digest
from edgepack.memory import CacheGroup, Deployment, Fit, Part, Speed, cache_law
from edgepack.models import Checkpoint, Source


@dataclass(frozen=True, slots=True)
class Measurement:
    """A fidelity report, and the file of the package that holds it."""

    report: FidelityReport
    file: FileRecord


def source_records(model: Source) -> tuple[FileRecord, ...]:
    """Every source file, hashed; paths are relative to the model's folder."""
    return tuple(
        FileRecord(path.relative_to(model.root).as_posix(), path.stat().st_size, sha256)
        for path, sha256 in model.digests()
    )


def compose(
    *,
    model: Source,
    source: Sequence[FileRecord],
    artifacts: Sequence[Artifact],
    hardware: Hardware,
    deployments: Sequence[Deployment],
    fits: Sequence[Fit],
    measurements: Sequence[Measurement],
    corpus_sha256: str | None,
    argv: Sequence[str],
    exporter: str | None = None,
) -> Manifest:
    """All that edgepack.toml says; the sequences go with `artifacts`, one by one."""
    described = Manifest(
        schema=SCHEMA,
        digest="",
        model=model_section(model),
        source=tuple(source),
        artifacts=tuple(artifacts),
        memory=MemorySection(
            weights=tuple(WeightBytes(a.files[0].path, weight_bytes(a)) for a in artifacts),
            cache=law_of(model),
        ),
        fit=tuple(
            _fit(artifact, fit, hardware, deployment)
            for artifact, fit, deployment in zip(artifacts, fits, deployments, strict=True)
        ),
        fidelity=tuple(
            FidelitySection(
                artifact=artifact.files[0].path,
                sha256=tuple(record.sha256 for record in artifact.files),
                tensor_digest=artifact.tensor_digest,
                source_digest=digest_of(source),
                corpus_sha256=corpus_sha256,
                report=found.file,
                measured=measured(found.report.to_dict(), found.file.path),
            )
            for artifact, found in zip(artifacts, measurements, strict=True)
        ),
        toolchain=_toolchain(argv, exporter),
    )
    return replace(described, digest=text_digest(described))


def law_of(model: Source) -> tuple[CacheGroup, ...]:
    """The KV cache as a law; empty for a model that keeps none."""
    return cache_law(model.decoder) if isinstance(model, Checkpoint) else ()


def model_section(model: Source) -> ModelSection:
    """What the model says of itself."""
    return ModelSection(
        name=_text(model.name),
        revision=model.revision,
        licence=model.card.licence,
        architecture=model.architecture,
        parameters=model.parameters,
        vocabulary=model.vocabulary,
        context_length=model.context_length,
    )


def _fit(artifact: Artifact, fit: Fit, hardware: Hardware, deployment: Deployment) -> FitSection:
    return FitSection(
        artifact=artifact.files[0].path,
        device=hardware.name,
        scheme=fit.scheme,
        parts=tuple(_part(part) for part in fit.placement.parts),
        total=fit.footprint.total,
        headroom=fit.headroom,
        longest_context=fit.longest_context,
        notes=fit.notes,
        deployment=deployment,
        footprint=fit.footprint,
        decode=fit.decode and _rounded(fit.decode),
        prefill=fit.prefill and _rounded(fit.prefill),
    )


def _part(part: Part) -> FitPart:
    return FitPart(
        place=part.place.name,
        budget=part.place.memory.value,
        bytes=part.bytes,
        layers=part.layers,
        experts=part.experts,
    )


def _rounded(speed: Speed) -> Speed:
    """An estimate has no more than three digits worth writing down."""
    low, high = (float(f"{rate:.3g}") for rate in (speed.low, speed.high))
    return Speed(low, high, speed.basis)


def _toolchain(argv: Sequence[str], exporter: str | None) -> ToolchainSection:
    return ToolchainSection(
        edgepack=__version__,
        python=platform.python_version(),
        numpy=version("numpy"),
        numba=version("numba"),
        platform=f"{platform.system()} {platform.machine()}",
        argv=tuple(_text(argument) for argument in argv),
        exporter=exporter,
    )


def _text(name: str) -> str:
    """Names from the system may hold bytes that are no UTF-8; TOML holds nothing else."""
    return name.encode("utf-8", "backslashreplace").decode()
