"""The work on a model known by its task: others' code exports it, and runs the reference."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from edgepack import formats, memory, models
from edgepack.errors import Missing, Unsupported, UsageError
from edgepack.fidelity import FidelityReport, Profile, runtimes
from edgepack.fidelity.outputs.comparison import validate
from edgepack.fidelity.outputs.reference import TransformerReference
from edgepack.fidelity.outputs.texts import Text, open_tokenizer, read_texts
from edgepack.fidelity.runtimes.onnx_outputs import OnnxOutputs
from edgepack.formats import Artifact, Exporter, Format, Options, Weights
from edgepack.hardware import Hardware
from edgepack.manifest.manifest import weight_bytes
from edgepack.memory import task
from edgepack.memory.law import CacheGroup
from edgepack.models import TaskModel
from edgepack.models.digest import sha256_of
from edgepack.pipeline.choice import Choice, Chosen
from edgepack.pipeline.fit import AUTO_BITS, Settings, Weighed, does_not_fit
from edgepack.pipeline.progress import Report, staged_progress
from edgepack.pipeline.quantize import Planned
from edgepack.pipeline.validate import ValidateRequest, corpus_path
from edgepack.quant.schemes import Scheme, Schemes
from edgepack.quant.schemes.exported import stored_bytes


class TaskWork:
    """The headers of `source`'s weights are read at once: config.json does not say how many there
    are. The weights themselves are fetched when `model` is asked for."""

    def __init__(self, source: str) -> None:
        """Raises as models.read_task_shape does."""
        self._source, self._shape = source, models.read_task_shape(source)
        self.name, self.parameters = self._shape.name, self._shape.parameters
        self.context_length = self._shape.context_length

    @cached_property
    def model(self) -> TaskModel:
        found = models.open_model(self._source)
        assert isinstance(found, TaskModel), self._source
        self._shape, self.context_length = found, found.context_length
        return found

    @property
    def cache(self) -> tuple[CacheGroup, ...]:
        return ()

    @property
    def weights(self) -> Weights:
        raise Unsupported(
            f"{self.name} is no decoder: its tensors are what others' code makes of them",
            "validate compares what it computes",
        )

    @property
    def sources(self) -> Iterable[Path]:
        return self.model.stamps

    def schemes(self, choice: Choice) -> Chosen:
        return choice.schemes(self._schemes_of)

    def made_by(self, chosen: Chosen) -> str | None:
        return "; ".join(self._exporter(form).version for form, _ in chosen)

    def require(self, chosen: Chosen) -> None:
        for form, _ in chosen:
            self._exporter(form).require()
            runtimes.require(form.name)

    def table(self, hardware: Hardware, settings: Settings, choice: Choice) -> tuple[Weighed, ...]:
        return tuple(
            self._weighed(form, scheme, hardware, settings)
            for form, chosen in choice.picks(self._schemes_of)
            for scheme in ([chosen] if chosen else self._schemes_of(form).USUAL)
        )

    def weigh(self, hardware: Hardware, settings: Settings, choice: Choice) -> tuple[Weighed, ...]:
        rows = self.table(hardware, settings, choice)
        if any(scheme is None for _, scheme in choice.picks(self._schemes_of)):
            automatic = [row for row in rows if row.scheme.bits <= AUTO_BITS]
            chosen = memory.choose([row.fit for row in automatic])
            return tuple(row for row in automatic if row.fit is chosen)
        _require_fit(rows, hardware)
        return rows

    def plan(self, chosen: Chosen, options: Options) -> tuple[Planned, ...]:
        for form, _ in chosen:
            options.check_whole(form.name)
        return tuple(
            Planned(
                form.name,
                scheme.name,
                self._stored_bytes(scheme),
                exact=False,
                temporary=self._exporter(form).temporary(self.model, scheme),
            )
            for form, scheme in chosen
        )

    def write(
        self, chosen: Chosen, options: Options, folder: Path, report: Report
    ) -> tuple[Artifact, ...]:
        """Of one format: no other has an exporter."""
        ((form, scheme),) = chosen
        progress = staged_progress(report, "export")
        return (self._exporter(form).write(self.model, scheme, folder, progress),)

    def settle(
        self, weighed: Sequence[Weighed], artifacts: Sequence[Artifact], hardware: Hardware
    ) -> tuple[Weighed, ...]:
        """Weighed anew: only now the bytes are known. Raises DoesNotFit."""
        outline = self.model.outline
        rows = tuple(
            replace(
                row,
                fit=task.fit(outline, weight_bytes(artifact), row.scheme, hardware, row.deployment),
            )
            for row, artifact in zip(weighed, artifacts, strict=True)
        )
        _require_fit(rows, hardware)
        return rows

    def scales(self, corpus: Path | None) -> TaskScales:
        path = corpus_path(self.model.root, corpus, "text")
        texts = read_texts(path, open_tokenizer(self.model.root), self.model.outline)
        return TaskScales(self.model, sha256_of(path), texts)

    def _exporter(self, form: Format) -> Exporter:
        """Raises Unsupported for a format that has none."""
        if form.exporter is None:
            kind = f"a {self._shape.outline.task} model ({self._shape.architecture})"
            raise Unsupported(
                f"{self.name} is {kind}, and {form.name} is for decoders", "use --to onnx"
            )
        return form.exporter

    def _schemes_of(self, form: Format) -> Schemes:
        return self._exporter(form).schemes

    def _weighed(
        self, form: Format, scheme: Scheme, hardware: Hardware, settings: Settings
    ) -> Weighed:
        outline = self._shape.outline
        plan = task.deployment(outline, _context(settings, self.context_length))
        weights = self._stored_bytes(scheme)
        return Weighed(form, scheme, plan, task.fit(outline, weights, scheme, hardware, plan))

    def _stored_bytes(self, scheme: Scheme) -> int:
        shapes = (ref.shape for ref in self._shape.tensors.values())
        return sum(stored_bytes(scheme, shape) for shape in shapes)


def _context(settings: Settings, longest: int) -> int | None:
    """What was asked for. Raises UsageError for what such a model does not have."""
    if settings.kv_type is not None or (settings.slots or 1) > 1:
        option = "--slots" if settings.kv_type is None else "--kv"
        raise UsageError(f"{option} was given for a model that keeps no cache", "leave it out")
    if settings.projector_bytes:
        raise UsageError("--projector was given for a model that is no decoder", "leave it out")
    if settings.context is not None and settings.context > longest:
        raise UsageError(
            f"--ctx {settings.context}: the model takes {longest} tokens at most", "give fewer"
        )
    return settings.context


def _require_fit(rows: Sequence[Weighed], hardware: Hardware) -> None:
    for row in rows:
        if not row.fit.fits:
            raise does_not_fit(row.fit, hardware)


@dataclass(frozen=True, slots=True)
class TaskScales:
    """Text by text, against the checkpoint in transformers."""

    model: TaskModel
    sha256: str
    texts: tuple[Text, ...]

    def measure(
        self,
        entries: Sequence[Path],
        limits: Profile,
        report: Report,
        request: ValidateRequest | None = None,
    ) -> tuple[FidelityReport, ...]:
        """Raises Missing without the extra, Unsupported for artifacts of decoders' formats."""
        graphs = [self._graphs(entry) for entry in entries]
        reference = TransformerReference(self.model)
        reports = []
        for paths in graphs:
            with OnnxOutputs(paths) as runtime:
                progress = staged_progress(report, f"compare {runtime.name}")
                reports.append(
                    validate(self.model, reference, runtime, self.texts, limits, progress)
                )
        return tuple(reports)

    def _graphs(self, entry: Path) -> tuple[Path, ...]:
        """Raises Missing where it is not there, Unsupported where no exporter wrote it."""
        if not entry.exists():
            raise Missing(f"{entry} does not exist", "name an artifact that quantize wrote")
        exporters = (form.exporter for form in formats.every())
        for exporter in exporters:
            if exporter is not None and entry.suffix == exporter.suffix:
                return exporter.graphs(entry)
        raise Unsupported(
            f"{entry} is an artifact for decoders, and {self.model.name} is none",
            "name the checkpoint that the artifact came from",
        )
