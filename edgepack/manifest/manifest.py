"""`Manifest`: the nouns of edgepack.toml. Sizes are in bytes, digests `sha256:` and 64 hex digits.

A field that may be None is left out of the file; every other one must be there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from edgepack.fidelity.gates import Verdict
from edgepack.fidelity.outputs.metrics import Kind
from edgepack.fidelity.spans import Span
from edgepack.formats import Artifact, FileRecord
from edgepack.memory import CacheGroup, Deployment, Footprint, Speed

SCHEMA: Final = "edgepack/1"


@dataclass(frozen=True, slots=True)
class ModelSection:
    """What was packed. `revision` is a hub commit, `licence` the card's identifier."""

    name: str
    revision: str | None
    licence: str | None
    architecture: str
    parameters: int
    vocabulary: int
    context_length: int


@dataclass(frozen=True, slots=True)
class WeightBytes:
    """Bytes of the tensors of one artifact; `path` is the file a runtime opens."""

    path: str
    size: int


@dataclass(frozen=True, slots=True)
class MemorySection:
    """The memory law: enough for a host to find the KV cache of a context of its own."""

    weights: tuple[WeightBytes, ...]
    cache: tuple[CacheGroup, ...]


@dataclass(frozen=True, slots=True)
class FitPart:
    """What one processor of the device holds: `bytes` of the `budget` that it has for a model, if
    that is known; `layers` whole ones, and the routed experts of `experts` others."""

    place: str
    budget: int | None
    bytes: int
    layers: int
    experts: int


@dataclass(frozen=True, slots=True)
class FitSection:
    """The device an artifact was made for, and what it needs there.

    `artifact` is the file a runtime opens; `total` is the sum of `footprint`, `headroom` what is
    left of the memory where it is tightest.
    """

    artifact: str
    device: str
    scheme: str
    total: int
    headroom: int
    longest_context: int
    notes: tuple[str, ...]
    deployment: Deployment
    footprint: Footprint
    decode: Speed | None
    prefill: Speed | None
    parts: tuple[FitPart, ...]


@dataclass(frozen=True, slots=True)
class Bounds:
    """A figure and its one-sided 95% bounds; one that the sample cannot give is None."""

    value: float | None
    lower: float | None
    upper: float | None


@dataclass(frozen=True, slots=True)
class OverallFigures:
    """The headline: distances in nats, rates as shares of one."""

    kl_mean: Bounds
    kl_p99: Bounds
    top1: Bounds
    hard_flips: Bounds
    broken_documents: Bounds
    ln_ppl_ratio: Bounds


@dataclass(frozen=True, slots=True)
class SpanFigures:
    """The headline of one span."""

    scope: Span
    tokens: int
    kl_mean: Bounds
    top1: Bounds
    hard_flips: Bounds


@dataclass(frozen=True, slots=True)
class OutputFigures:
    """The headline where a model's outputs are vectors or classes: `distance` is one minus the
    cosine, `difference` the largest of a row, `top1` absent where a row is no choice."""

    kind: Kind
    rows: int
    distance: Bounds
    difference: Bounds
    top1: Bounds | None
    broken_documents: Bounds
    distance_max: float | None
    difference_max: float | None


@dataclass(frozen=True, slots=True)
class Measured:
    """The part of a fidelity report that the manifest repeats; names are the report's own."""

    verdict: Verdict
    reasons: tuple[str, ...]
    powered: bool
    profile: str
    reference: str
    runtime: str
    runtime_version: str
    documents: int
    tokens: int
    overall: OverallFigures | None
    spans: tuple[SpanFigures, ...]
    outputs: OutputFigures | None = None


@dataclass(frozen=True, slots=True)
class FidelitySection:
    """One measurement, bound to the bytes it was made on.

    `artifact` is the file that ran, `sha256` the digests of the artifact's files in their order,
    `source_digest` is `digest_of` the source files, `report` the file with the whole report.
    """

    artifact: str
    sha256: tuple[str, ...]
    tensor_digest: str
    source_digest: str
    corpus_sha256: str | None
    report: FileRecord
    measured: Measured


@dataclass(frozen=True, slots=True)
class ToolchainSection:
    """What made the package; `platform` is the machine that did, not the device it is for.

    The runtimes that measured it are named with what they measured; `exporter` names the programs
    that wrote the artifacts, where edgepack did not.
    """

    edgepack: str
    python: str
    numpy: str
    numba: str
    platform: str
    argv: tuple[str, ...]
    exporter: str | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """edgepack.toml. Paths in `source` are relative to the checkpoint, others to the package.

    `digest` is that of the manifest itself (`toml.text_digest`): an edit by hand shows.
    """

    schema: str
    digest: str
    model: ModelSection
    source: tuple[FileRecord, ...]
    artifacts: tuple[Artifact, ...]
    memory: MemorySection
    fit: tuple[FitSection, ...]
    fidelity: tuple[FidelitySection, ...]
    toolchain: ToolchainSection

    @property
    def files(self) -> tuple[FileRecord, ...]:
        """Every file of the package but edgepack.toml itself."""
        artifacts = (record for artifact in self.artifacts for record in artifact.files)
        return (*artifacts, *(section.report for section in self.fidelity))


def digest_of(records: Iterable[FileRecord]) -> str:
    """One digest of many files: sha256 over a line `SHA256 SIZE PATH` of each, in order of path."""
    lines = (f"{r.sha256} {r.size} {r.path}\n" for r in sorted(records, key=lambda r: r.path))
    return f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def weight_bytes(artifact: Artifact) -> int:
    """Bytes of all tensors, as counted in the file."""
    return sum(count.size for count in artifact.histogram)
