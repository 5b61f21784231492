"""The verb `validate`: an artifact in its real runtime against the full-precision checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

from edgepack import fidelity, formats
from edgepack.errors import Missing, UsageError
from edgepack.fidelity import Document, FidelityReport, runtimes
from edgepack.fidelity.checks import Check, faults
from edgepack.fidelity.gates import DEFAULT_PROFILE
from edgepack.fidelity.reference import Reference
from edgepack.models import Checkpoint
from edgepack.models.digest import sha256_of
from edgepack.pipeline.progress import Report, silent, staged_progress
from edgepack.pipeline.structure import runs, structure
from edgepack.pipeline.work import work_on

OWN_CORPUS = "eval.jsonl"  # held-out documents that come with a checkpoint


@dataclass(frozen=True, slots=True)
class Corpus:
    """The documents measured on, and the digest of the file they came from."""

    path: Path
    sha256: str
    documents: tuple[Document, ...]


def read_corpus(checkpoint: Checkpoint, path: Path | None) -> Corpus:
    """The corpus at `path`, else the checkpoint's own eval.jsonl, else edgepack's general one:
    conversations, or plain text for a checkpoint without a chat template.

    Raises as fidelity.read_corpus does.
    """
    general = "text" if checkpoint.tokenizer.chat_template is None else "chat"
    path = corpus_path(checkpoint.root, path, general)
    documents = fidelity.read_corpus(path, checkpoint.tokenizer)
    return Corpus(path, sha256_of(path), documents)


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
    number of traces, `alpha` the weight of cross-entropy in the distillation loss.
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


def validate(request: ValidateRequest, report: Report = silent) -> tuple[FidelityReport, ...]:
    """Measure every artifact against the checkpoint: a report for each, in order.

    Raises UsageError without an artifact, and whatever opening either raises; the verdicts are in
    the reports.
    """
    if not request.artifacts:
        raise UsageError("no artifact was named", "name one or more, or use --self-test")
    limits = fidelity.profile(request.profile)
    entries = [artifact_entry(Path(artifact)) for artifact in request.artifacts]
    return (
        work_on(request.reference).scales(request.corpus).measure(entries, limits, report, request)
    )


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
    documents = corpus.documents
    structures = [structure(entry, checkpoint, documents, report) for entry in entries]
    expected = Reference(
        checkpoint, [d.ids for d in documents], staged_progress(report, "reference")
    )
    reports = []
    for entry, checks in zip(entries, structures, strict=True):
        if not runs(checks):
            reports.append(_not_run(checks, limits, checkpoint.name))
            continue
        with runtimes.open(entry) as runtime:
            found = fidelity.validate(
                expected,
                runtime,
                documents,
                limits,
                identity=checkpoint.name,
                broken=faults(checks),
                seed=asked.seed,
                text_of=checkpoint.tokenizer.text_of,
                progress=staged_progress(report, f"compare {runtime.name}"),
            )
        told = tuple(str(check) for check in checks if check.ok is None)
        reports.append(replace(found, structure=checks, notes=(*found.notes, *told)))
    return tuple(reports)


def _not_run(checks: Sequence[Check], limits: fidelity.Profile, identity: str) -> FidelityReport:
    """The report on an artifact that its runtime does not take: it failed before any distance."""
    return FidelityReport(
        "fail", faults(checks), profile=limits.name, reference=identity, structure=tuple(checks)
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
