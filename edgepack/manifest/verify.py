"""`verify`: is the package what its edgepack.toml says? All that can be recomputed is.

What only the maker knew (the device, the toolchain) is taken at its word, but for a digest of the
whole text. Whoever can rewrite every file of a package can make one that verifies; that is what
model.sig is for.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Final

from edgepack import formats
from edgepack.errors import DamagedInput, EdgepackError
from edgepack.formats import Artifact, FileRecord
from edgepack.manifest.compose import law_of, model_section
from edgepack.manifest.folder import MANIFEST, read, read_measured
from edgepack.manifest.manifest import (
    FidelitySection,
    FitSection,
    Manifest,
    Measured,
    ModelSection,
    digest_of,
    weight_bytes,
)
from edgepack.manifest.toml import text_digest
from edgepack.memory import cache_bytes, task
from edgepack.models import Source, TaskModel
from edgepack.models.digest import sha256_of
from edgepack.quant.schemes.exported import FAITHFUL

UNRECORDED: Final = frozenset({MANIFEST, "model.sig"})  # the signature covers the manifest
_SHOWN: Final = 20
_NAMING: Final = frozenset({"name", "revision"})  # of the place it was found in, not of its bytes
_INSPECTED: Final = ("format", "scheme", "architecture", "tensor_digest", "histogram")


@dataclass(frozen=True, slots=True)
class Verified:
    """A package that is what it says, and `checks`, the sentences of what was looked at."""

    folder: Path
    manifest: Manifest
    checks: tuple[str, ...]


def verify(folder: Path, source: Source | None = None) -> Verified:
    """Recompute everything in the manifest of `folder`.

    With `source`, also hash the checkpoint's files and compare what is said of the model with it.

    Raises Missing without the folder, DamagedInput with every difference found.
    """
    manifest = read(folder)
    # inspecting an artifact hashes its entry file on the way: it is read once
    inspected = {artifact.files[0].path for artifact in manifest.artifacts}
    wrong = {
        record.path: _file_difference(folder, record, hashed=record.path not in inspected)
        for record in manifest.files
    }
    found = [f"{path} {what}" for path, what in wrong.items() if what]
    found += _unrecorded(folder, manifest)
    for artifact in manifest.artifacts:
        if not any(wrong[record.path] for record in artifact.files):
            found += _artifact_differences(folder, artifact)
    for section in manifest.fidelity:
        if not wrong[section.report.path]:
            found += _report_differences(folder, section)
    found += _contradictions(manifest)
    if source is not None:
        found += _source_differences(source, manifest)
    if not found and manifest.digest != text_digest(manifest):
        found = [f"{MANIFEST} was edited: its text has {text_digest(manifest)}, recorded "
                 f"{manifest.digest}"]  # fmt: skip
    if found:
        raise _differences(folder, found)
    return Verified(folder, manifest, tuple(_checks(manifest, source)))


def _checks(manifest: Manifest, source: Source | None) -> Iterator[str]:
    yield f"{len(manifest.files)} files have the recorded size and sha256, and there are no others"
    for artifact in manifest.artifacts:
        tensors = sum(count.tensors for count in artifact.histogram)
        yield f"{artifact.files[0].path}: {tensors} tensors have the recorded types and digest"
    for section in manifest.fidelity:
        verdict = section.measured.verdict
        yield f"{section.report.path}: verdict {verdict}, bound to {section.artifact}"
    yield f"{len(manifest.source)} source records have the digest the measurement names"
    if source is not None:
        count = len(manifest.source)
        yield f"{source.root}: {count} source files have the recorded size and sha256"
        yield f"{source.root}: the model and its memory law are as recorded"


def _file_difference(
    folder: Path, record: FileRecord, *, links: bool = False, hashed: bool = True
) -> str:
    """What is wrong with one recorded file, empty if nothing is.

    The path is plain (reading the manifest saw to that), so without `links` on the way it cannot
    leave the folder.
    """
    path = folder
    try:
        for part in PurePosixPath(record.path).parts:
            path = path / part
            if path.is_symlink() and not links:
                return "is reached through a symbolic link"
        if not path.exists():
            return "is missing"
        if not path.is_file():
            return "is not a regular file"
        size = path.stat().st_size
        if size != record.size:
            return f"has {size} bytes, recorded {record.size}"
        sha256 = sha256_of(path) if hashed else record.sha256
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return "" if sha256 == record.sha256 else f"has {sha256}, recorded {record.sha256}"


def _unrecorded(folder: Path, manifest: Manifest) -> Iterator[str]:
    """Files that are in the folder and not in the manifest, and records that share a path."""
    counts = Counter(record.path for record in manifest.files)
    yield from (f"{path} is recorded {n} times" for path, n in counts.items() if n > 1)
    for place, folders, names in os.walk(folder, onerror=_refuse):
        linked = [name for name in folders if Path(place, name).is_symlink()]
        for name in sorted((*names, *linked)):
            path = Path(place, name).relative_to(folder).as_posix()
            if path not in counts and path not in UNRECORDED:
                yield f"{path!r} is in the folder and not in the manifest"


def _refuse(error: OSError) -> None:
    raise DamagedInput(f"{error.filename}: cannot be read: {error.strerror}", "check it") from error


def _artifact_differences(folder: Path, artifact: Artifact) -> Iterator[str]:
    """The artifact read anew, against its record; its files are there, in their sizes."""
    name = artifact.files[0].path
    try:
        seen = formats.named(artifact.format).inspect(artifact.entry(folder))
    except EdgepackError as error:
        yield f"{name} cannot be inspected: {error.message}"
        for record in artifact.files:
            if what := _file_difference(folder, record):
                yield f"{record.path} {what}"
        return
    for now, then in zip(seen.files, artifact.files, strict=False):
        if now.sha256 != then.sha256:
            yield f"{then.path} has {now.sha256}, recorded {then.sha256}"
    for field in _INSPECTED:
        now, then = getattr(seen, field), getattr(artifact, field)
        if now != then:
            yield f"{name} has {field} {now!r}, recorded {then!r}"


def _report_differences(folder: Path, section: FidelitySection) -> Iterator[str]:
    """The manifest's figures against those of the report file."""
    name = section.report.path
    try:
        said = read_measured(folder / name)
    except DamagedInput as error:
        yield error.message
        return
    for field in fields(Measured):
        there, here = getattr(said, field.name), getattr(section.measured, field.name)
        if there != here:
            yield f"{name} has {field.name} {there!r}, {MANIFEST} says {here!r}"


def _contradictions(manifest: Manifest) -> Iterator[str]:
    """Where the manifest disagrees with itself."""
    artifacts = {artifact.files[0].path: artifact for artifact in manifest.artifacts}
    for name in artifacts:
        for kind, sections in (("fidelity", manifest.fidelity), ("fit", manifest.fit)):
            count = sum(section.artifact == name for section in sections)
            if count != 1:
                yield f"{name} has {count} {kind} sections, one is required"
    source = digest_of(manifest.source)
    for section in manifest.fidelity:
        yield from _binding_differences(section, artifacts.get(section.artifact), source)
    recorded = [(weights.path, weights.size) for weights in manifest.memory.weights]
    counted = [(name, weight_bytes(artifact)) for name, artifact in artifacts.items()]
    if recorded != counted:
        yield f"memory.weights are {recorded}, the histograms add up to {counted}"
    for fit in manifest.fit:
        yield from _fit_differences(fit, artifacts.get(fit.artifact), manifest)


def _binding_differences(
    section: FidelitySection, artifact: Artifact | None, source: str
) -> Iterator[str]:
    """Whether a measurement was made on these bytes, from that source."""
    name = f"fidelity of {section.artifact}"
    if artifact is None:
        yield f"{name} is bound to no artifact of the package"
        return
    if section.sha256 != tuple(record.sha256 for record in artifact.files):
        yield f"{name} is bound to other files: {', '.join(section.sha256)}"
    if section.tensor_digest != artifact.tensor_digest:
        yield f"{name} is bound to other tensors: {section.tensor_digest}"
    if section.source_digest != source:
        yield f"{name} is bound to another source: {section.source_digest}, recorded {source}"


def _fit_differences(
    fit: FitSection, artifact: Artifact | None, manifest: Manifest
) -> Iterator[str]:
    """Whether a fit speaks of its artifact, follows from the memory law, and adds up."""
    name = f"fit of {fit.artifact}"
    if artifact is None:
        yield f"{name} is bound to no artifact of the package"
        return
    if fit.scheme != artifact.scheme:
        yield f"{name} has scheme {fit.scheme!r}, the artifact {artifact.scheme!r}"
    if fit.longest_context > manifest.model.context_length:
        yield (
            f"{name} has longest_context {fit.longest_context}, "
            f"beyond model.context_length {manifest.model.context_length}"
        )
    kv = cache_bytes(manifest.memory.cache, fit.deployment)
    if fit.footprint.kv != kv:
        yield f"{name} has footprint.kv {fit.footprint.kv}, the law in memory.cache gives {kv}"
    held = weight_bytes(artifact)
    if fit.deployment.program == "onnxruntime" and fit.footprint.weights != held:
        yield f"{name} has footprint.weights {fit.footprint.weights}, the histogram gives {held}"
    if fit.total != fit.footprint.total:
        yield f"{name} has total {fit.total}, its footprint adds up to {fit.footprint.total}"
    held = sum(part.bytes for part in fit.parts)
    if held < fit.total or (len(fit.parts) == 1 and held != fit.total):
        yield f"{name} has total {fit.total}, its parts hold {held}"
    left = min((part.budget - part.bytes for part in fit.parts if part.budget), default=None)
    if fit.headroom != left:
        yield f"{name} has headroom {fit.headroom}, its parts leave {left}"


def _source_differences(source: Source, manifest: Manifest) -> Iterator[str]:
    """The checkpoint's files now (links are how a hub cache stores them), and what it is."""
    for record in manifest.source:
        what = _file_difference(source.root, record, links=True)
        if what:
            yield f"{source.root / record.path} {what}"
    now = model_section(source)
    for field in fields(ModelSection):
        there, here = getattr(now, field.name), getattr(manifest.model, field.name)
        if there != here and field.name not in _NAMING:
            yield f"{source.root} has {field.name} {there!r}, {MANIFEST} says {here!r}"
    law = law_of(source)
    if law != manifest.memory.cache:
        yield f"{source.root} has the cache law {law}, {MANIFEST} says {manifest.memory.cache}"
    if isinstance(source, TaskModel):
        yield from _footprint_differences(source, manifest)


def _footprint_differences(source: TaskModel, manifest: Manifest) -> Iterator[str]:
    """What the law of models without a cache gives for the recorded weights.

    Fits of artifacts or schemes that are not there have been found by others.
    """
    weights = {recorded.path: recorded.size for recorded in manifest.memory.weights}
    schemes = {scheme.name: scheme for scheme in FAITHFUL}
    for fit in manifest.fit:
        held, scheme = weights.get(fit.artifact), schemes.get(fit.scheme)
        if held is None or scheme is None:
            continue
        law = task.footprint(source.outline, held, scheme, fit.deployment.context)
        if fit.footprint != law:
            yield f"fit of {fit.artifact} has {fit.footprint}, the law gives {law}"


def _differences(folder: Path, found: list[str]) -> DamagedInput:
    lines = found[:_SHOWN]
    if len(found) > _SHOWN:
        lines.append(f"and {len(found) - _SHOWN} more")
    count = "1 difference" if len(found) == 1 else f"{len(found)} differences"
    return DamagedInput(
        "\n  ".join((f"{folder}: {count} from its {MANIFEST}:", *lines)),
        "do not run it; take the package from its source again, or pack it again",
    )
