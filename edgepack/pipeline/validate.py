"""The verb `validate`: an artifact in its real runtime against the full-precision checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from edgepack import fidelity, formats
from edgepack.errors import EdgepackError, Missing, UsageError
from edgepack.fidelity import (
    DEFAULT_ALPHA,
    DEFAULT_TEMPERATURE,
    Document,
    FidelityReport,
    runtimes,
)
from edgepack.fidelity.breakdown import check_loss
from edgepack.fidelity.checks import faults
from edgepack.fidelity.corpus import distinct
from edgepack.fidelity.drafts import DraftReport
from edgepack.fidelity.floor import suspicions
from edgepack.fidelity.limits import DEFAULT_PROFILE
from edgepack.fidelity.standard import Run, Standard, cut_notes, run_on, standard
from edgepack.fidelity.states import user_store
from edgepack.models import Checkpoint, open_checkpoint
from edgepack.models.digest import sha256_of
from edgepack.pipeline.baseline import hold, read_baseline
from edgepack.pipeline.findings import unrun, with_generation, with_structure
from edgepack.pipeline.looks import GrowingReference, plan, validate_until_decided
from edgepack.pipeline.pairing import checkpoint_of, paired, side
from edgepack.pipeline.progress import Report, silent, staged_progress
from edgepack.pipeline.structure import runs, structure
from edgepack.pipeline.work import work_on
from edgepack.pipeline.writing import replies, self_sampled

OWN_CORPUS = "eval.jsonl"  # held-out documents that come with a checkpoint


@dataclass(frozen=True, slots=True)
class Corpus:
    """The documents measured on, and the digest of the file they came from.

    `repeated` are how many more the file has, each of the same ids as one of these.
    """

    path: Path
    sha256: str
    documents: tuple[Document, ...]
    repeated: int = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """That documents were left out, if some were."""
        if not self.repeated:
            return ()
        are = "document is" if self.repeated == 1 else "documents are"
        return (f"{self.repeated} {are} repeated and counted once",)


def read_corpus(checkpoint: Checkpoint, path: Path | None) -> Corpus:
    """The corpus at `path`, else the checkpoint's own eval.jsonl, else edgepack's general one:
    conversations, or plain text for a checkpoint without a chat template.

    Raises as fidelity.read_corpus does.
    """
    general = "text" if checkpoint.tokenizer.chat_template is None else "chat"
    path = corpus_path(checkpoint.root, path, general)
    read = fidelity.read_corpus(path, checkpoint.tokenizer)
    documents = distinct(read)
    return Corpus(path, sha256_of(path), documents, len(read) - len(documents))


def corpus_path(root: Path, named: Path | None, general: str) -> Path:
    """The file to read: the one named, else that of the model in `root`, else edgepack's."""
    own = root / OWN_CORPUS
    if named is None and own.is_file():
        return own
    return named or Path(str(resources.files(fidelity) / "corpora" / f"{general}.jsonl"))


@dataclass(frozen=True, slots=True)
class ValidateRequest:
    """What `validate` is asked: `artifacts` are files or packages' folders, of one `reference`.

    `profile` is a name or a TOML file, `baseline` the JSON of an earlier run, `self_sample` a
    number of traces, `alpha` the weight of cross-entropy in the distillation loss, `window` the
    tokens of the longest sequence that is run at once.
    """

    artifacts: tuple[str, ...] = ()
    reference: str = ""
    corpus: Path | None = None
    self_sample: int | None = None
    profile: str = DEFAULT_PROFILE
    baseline: Path | None = None
    until_decided: bool = False
    generate: bool = False
    as_draft_for: str | None = None
    seed: int = 0
    temperature: float | None = None
    alpha: float | None = None
    window: int | None = None


def validate(request: ValidateRequest, report: Report = silent) -> tuple[FidelityReport, ...]:
    """Measure every artifact against the checkpoint: a report for each, in order.

    Raises UsageError without an artifact, and whatever opening either raises; the verdicts are in
    the reports.
    """
    if not request.artifacts:
        raise UsageError("no artifact was named", "name one or more, or use --self-test")
    if not request.reference:
        raise UsageError("no reference was named", "name the checkpoint: --reference MODEL")
    check_loss(**_loss(request))
    limits = fidelity.profile(request.profile)
    if request.baseline:  # what is wrong with it need not wait for the measurement
        read_baseline(request.baseline)
    entries = [artifact_entry(Path(artifact)) for artifact in request.artifacts]
    scales = work_on(request.reference).scales(request.corpus)
    reports = scales.measure(entries, limits, report, request)
    if request.as_draft_for:
        pairs = draft_reports(request, report)
        reports = tuple(replace(r, draft=d) for r, d in zip(reports, pairs, strict=True))
    return hold(reports, request.baseline) if request.baseline else reports


def draft_reports(request: ValidateRequest, report: Report = silent) -> tuple[DraftReport, ...]:
    """Each of `artifacts`, or checkpoints, as a draft for `as_draft_for`, on the corpus.

    The reference's tokenizer reads it, or that of whichever is a checkpoint. Raises UsageError
    where none is, and as `paired` does.
    """
    assert request.as_draft_for is not None
    target = side(request.as_draft_for, artifact_entry)
    found = []
    for named in request.artifacts:
        draft = side(named, artifact_entry)
        given = open_checkpoint(request.reference) if request.reference else None
        reader = given or checkpoint_of(target, draft)
        documents = read_corpus(reader, request.corpus).documents
        found.append(paired(draft, target, documents, request.seed, report))
    return tuple(found)


def measure(
    entries: Sequence[Path],
    checkpoint: Checkpoint,
    corpus: Corpus,
    limits: fidelity.Profile,
    report: Report = silent,
    request: ValidateRequest | None = None,
) -> tuple[FidelityReport, ...]:
    """A report for each artifact, all compared with one run of the reference.

    Structure comes first: it takes seconds, and what is wrong there need not wait for the rest.
    """
    asked = request or ValidateRequest()
    structures = [structure(entry, checkpoint, corpus.documents, report) for entry in entries]
    documents = _measured_on(checkpoint, corpus, asked, report)
    planned = plan(documents, asked.seed) if asked.until_decided else None
    how: dict[str, Any] = {
        "window": asked.window,
        "progress": staged_progress(report, "reference"),
        "store": user_store(),
    }
    first = planned.documents[: planned.looks[0]] if planned else documents
    against = standard(checkpoint, first, seed=asked.seed, **how)

    def run(more: Sequence[Document]) -> Run:
        return run_on(checkpoint, more, **how)

    growing = GrowingReference(planned, run, {0: against.run}) if planned else None
    written = replies(checkpoint, corpus.documents, report) if asked.generate else None
    reports = []
    for entry, checks in zip(entries, structures, strict=True):
        if not runs(checks):
            reports.append(unrun(checks, limits, checkpoint.name))
            continue
        with runtimes.open(entry) as runtime:
            options: dict[str, Any] = {
                "identity": checkpoint.name,
                "broken": faults(checks),
                "floor": against.floor.kl_mean,
                "seed": asked.seed,
                "text_of": checkpoint.tokenizer.text_of,
                "progress": staged_progress(report, f"compare {runtime.name}"),
                **_loss(asked),
            }
            if growing:
                found = validate_until_decided(growing, runtime, limits, **options)
            else:
                chunks, reference = against.run.chunks, against.run.reference
                found = fidelity.validate(
                    reference, runtime, documents, limits, chunks=chunks, **options
                )
            found = with_structure(found, checks)
            if written:
                found = with_generation(found, written.compare(runtime, report))
        made = growing.runs if growing else (against.run,)
        found = replace(found, notes=(*found.notes, *corpus.notes))
        reports.append(_beside(found, against, made, entry, checkpoint))
    return tuple(reports)


def _loss(asked: ValidateRequest) -> dict[str, float]:
    """Temperature and alpha, as they were asked for."""
    return {
        "temperature": DEFAULT_TEMPERATURE if asked.temperature is None else asked.temperature,
        "alpha": DEFAULT_ALPHA if asked.alpha is None else asked.alpha,
    }


def _beside(
    found: FidelityReport,
    against: Standard,
    runs: Sequence[Run],
    entry: Path,
    checkpoint: Checkpoint,
) -> FidelityReport:
    """The report with what the measurement is worth. Raises as `suspicions` does."""
    notes = [*found.notes, *cut_notes(runs)]
    if found.overall is not None:
        encodings = _encodings(entry, checkpoint)
        notes += suspicions(found.overall, against.floor, encodings, entry.name)
    return replace(found, notes=tuple(notes), noise_floor=against.floor, control=against.control)


def _encodings(entry: Path, checkpoint: Checkpoint) -> frozenset[str] | None:
    """What the artifact's tensors are stored in; None where that cannot be read."""
    try:
        stored = formats.holding(entry).tensors(entry, checkpoint)
        return frozenset(tensor.encoding for tensor in stored)
    except EdgepackError:
        return None


def _measured_on(
    checkpoint: Checkpoint, corpus: Corpus, asked: ValidateRequest, report: Report
) -> tuple[Document, ...]:
    """The corpus, or as many traces as were asked for that the reference writes to its prompts."""
    if asked.self_sample is None:
        return corpus.documents
    return self_sampled(
        checkpoint,
        corpus.documents,
        asked.self_sample,
        seed=asked.seed,
        report=report,
    )


def artifact_entry(path: Path) -> Path:
    """The file a runtime opens: `path` itself, or the entry of the one artifact in a folder.

    Raises Missing where a folder holds none, UsageError where it holds several.
    """
    if not path.is_dir():
        return path
    found = [entry for form in formats.every() for entry in form.find(path)]
    if not found:  # a package of several formats has a folder for each
        below = [path / name for name in formats.known() if (path / name).is_dir()]
        found = [entry for form in formats.every() for place in below for entry in form.find(place)]
    if not found:
        raise Missing(f"{path} holds no artifact", "name a file or folder that holds one")
    if len(found) > 1:
        names = ", ".join(str(entry.relative_to(path)) for entry in found)
        raise UsageError(f"{path} holds several artifacts: {names}", "name the one to validate")
    return found[0]
