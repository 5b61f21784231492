"""The verb `validate`: an artifact in its real runtime against the full-precision checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from edgepack import fidelity, models
from edgepack.errors import Missing
from edgepack.fidelity import Document, FidelityReport, runtimes
from edgepack.fidelity.reference import Reference
from edgepack.fidelity.structure import tokenizer_differences
from edgepack.models import Checkpoint
from edgepack.models.digest import sha256_of
from edgepack.pipeline.progress import Report, silent, staged_progress
from edgepack.pipeline.staging import PACKAGE_FILE

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
    if path is None and (checkpoint.root / OWN_CORPUS).is_file():
        path = checkpoint.root / OWN_CORPUS
    if path is None:
        kind = "text" if checkpoint.tokenizer.chat_template is None else "chat"
        path = Path(str(resources.files(fidelity) / "corpora" / f"{kind}.jsonl"))
    documents = fidelity.read_corpus(path, checkpoint.tokenizer)
    return Corpus(path, sha256_of(path), documents)


def validate(
    artifact: str,
    reference: str,
    *,
    corpus: Path | None = None,
    profile: str = "balanced",
    report: Report = silent,
) -> FidelityReport:
    """Measure ARTIFACT (a file, or a package's folder) against the checkpoint `reference`.

    Raises whatever opening either raises; the verdict is in the report.
    """
    limits = fidelity.profile(profile)
    path = artifact_file(Path(artifact))
    checkpoint = models.open_checkpoint(reference)
    return measure(path, checkpoint, read_corpus(checkpoint, corpus), limits, report)


def measure(
    path: Path,
    checkpoint: Checkpoint,
    corpus: Corpus,
    limits: fidelity.Profile,
    report: Report = silent,
) -> FidelityReport:
    """The report of one artifact file on one corpus."""
    documents = corpus.documents
    with runtimes.open(path) as runtime:
        different = tokenizer_differences(runtime, checkpoint.tokenizer, documents)
        expected = Reference(
            checkpoint, [d.ids for d in documents], staged_progress(report, "reference")
        )
        return fidelity.validate(
            expected,
            runtime,
            documents,
            limits,
            identity=checkpoint.name,
            broken=different,
            text_of=checkpoint.tokenizer.text_of,
            progress=staged_progress(report, "compare"),
        )


def artifact_file(path: Path) -> Path:
    """The file a runtime opens: `path` itself, or the one artifact of a folder.

    Raises Missing where a folder holds none, or several and no manifest that names one.
    """
    if not path.is_dir():
        return path
    found: Sequence[Path] = sorted(path.glob("*.gguf"))
    if len(found) != 1:
        kind = "package" if (path / PACKAGE_FILE).is_file() else "folder"
        raise Missing(
            f"{path}: the {kind} holds {len(found)} artifacts", "name one file to validate"
        )
    return found[0]
