"""`Work`: what the verbs ask of a model, whichever kind it is. Which kind is asked here, once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from edgepack import models

if TYPE_CHECKING:
    from edgepack.fidelity import FidelityReport, Profile
    from edgepack.formats import Artifact, Options, Weights
    from edgepack.hardware import Hardware
    from edgepack.memory.law import CacheGroup
    from edgepack.models import Source
    from edgepack.pipeline.choice import Choice, Chosen
    from edgepack.pipeline.fit import Settings, Weighed
    from edgepack.pipeline.progress import Report
    from edgepack.pipeline.quantize import Planned
    from edgepack.pipeline.validate import ValidateRequest


class Scales(Protocol):
    """A model's documents, read, and what measures artifacts on them.

    `sha256` is the digest of the file that the documents came from.
    """

    @property
    def sha256(self) -> str: ...

    def measure(
        self,
        entries: Sequence[Path],
        limits: Profile,
        report: Report,
        request: ValidateRequest | None = None,
    ) -> tuple[FidelityReport, ...]:
        """A report for each artifact, all compared with one and the same reference.

        `request` has what else was asked of the measurement; without it, nothing.
        """
        ...


class Work(Protocol):
    """One model on its way through a verb. Each step raises what it meets."""

    @property
    def name(self) -> str: ...

    @property
    def parameters(self) -> int: ...

    @property
    def context_length(self) -> int: ...

    @property
    def cache(self) -> tuple[CacheGroup, ...]:
        """The law of its KV cache; empty where it keeps none."""
        ...

    @property
    def model(self) -> Source:
        """The model, opened when it is first asked for: its weights may have to be fetched."""
        ...

    @property
    def weights(self) -> Weights:
        """Its weights, to compare an artifact's with. Raises Unsupported for others' exports."""
        ...

    @property
    def sources(self) -> Iterable[Path]:
        """The files its weights are read from."""
        ...

    def schemes(self, choice: Choice) -> Chosen:
        """A scheme for every format. Raises UsageError, Unsupported for a format without one."""
        ...

    def made_by(self, chosen: Chosen) -> str | None:
        """Packages and versions, where others' code writes the artifacts."""
        ...

    def require(self, chosen: Chosen) -> None:
        """Raises Missing where what would make or measure the artifacts is not installed."""
        ...

    def table(self, hardware: Hardware, settings: Settings, choice: Choice) -> tuple[Weighed, ...]:
        """Every usual scheme of every chosen format, or the one chosen, weighed."""
        ...

    def weigh(self, hardware: Hardware, settings: Settings, choice: Choice) -> tuple[Weighed, ...]:
        """What will be made: the chosen schemes, or the most faithful that fit. Or DoesNotFit."""
        ...

    def plan(self, chosen: Chosen, options: Options) -> tuple[Planned, ...]:
        """What would be written."""
        ...

    def write(
        self, chosen: Chosen, options: Options, folder: Path, report: Report
    ) -> tuple[Artifact, ...]:
        """Every artifact in `folder`, described as read back."""
        ...

    def settle(
        self, weighed: Sequence[Weighed], artifacts: Sequence[Artifact], hardware: Hardware
    ) -> tuple[Weighed, ...]:
        """The same, for the bytes that were written."""
        ...

    def scales(self, corpus: Path | None) -> Scales:
        """With the documents at `corpus`, else the model's own, else edgepack's."""
        ...


def work_on(source: str) -> Work:
    """The work on `source`, of which config.json, or a GGUF's head, alone is read."""
    if _is_gguf(source):
        from edgepack.pipeline.ggufs import GgufWork

        return GgufWork(source)
    if models.is_task_model(source):
        from edgepack.pipeline.tasks import TaskWork

        return TaskWork(source)
    from edgepack.pipeline.decoders import DecoderWork

    return DecoderWork(source)


def _is_gguf(source: str) -> bool:
    """By its name, whether or not it is there, or by its first bytes, whatever its name."""
    from edgepack.formats import is_artifact

    path = Path(source)
    try:
        if path.is_dir():
            return False
        return source.endswith(".gguf") or (bool(path.stat().st_size) and is_artifact(path))
    except (OSError, ValueError):  # no file can have that name
        return False
