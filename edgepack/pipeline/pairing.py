"""A draft and a target, each a checkpoint or an artifact, measured on the same text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgepack import formats
from edgepack.errors import Missing, UsageError
from edgepack.fidelity import Document, runtimes
from edgepack.fidelity.drafts import DraftReport, Logits, check_vocabularies, pair_up
from edgepack.fidelity.reference import Reference
from edgepack.formats.dialect import read_dialect
from edgepack.models import Checkpoint, open_checkpoint
from edgepack.pipeline.progress import Report, silent, staged_progress


@dataclass(frozen=True, slots=True)
class Side:
    """One of the pair: a checkpoint, or the entry of an artifact; `size` is its bytes."""

    name: str
    model: Checkpoint | Path
    tokens: tuple[str, ...]
    size: int


def side(named: str, entry: Callable[[Path], Path]) -> Side:
    """What `named` is: an artifact where `entry` finds one there, else a checkpoint.

    Raises as opening either does.
    """
    try:
        found = entry(Path(named)) if Path(named).exists() else None
        form = formats.holding(found) if found else None
    except Missing:
        form = found = None
    if form is None or found is None:
        checkpoint = open_checkpoint(named)
        size = sum(path.stat().st_size for path in checkpoint.shards)
        return Side(named, checkpoint, checkpoint.tokenizer.tokens, size)
    with runtimes.open(found) as runtime:
        tokens = read_dialect(found, runtime.vocabulary).tokens
    return Side(named, found, tokens, form.inspect(found).size)


def checkpoint_of(*sides: Side) -> Checkpoint:
    """The first that is a checkpoint: its tokenizer reads the corpus. Raises UsageError."""
    for each in sides:
        if isinstance(each.model, Checkpoint):
            return each.model
    raise UsageError(
        "neither draft nor target is a checkpoint, whose tokenizer would read the corpus",
        "name one of the same vocabulary: --reference MODEL",
    )


def paired(
    draft: Side, target: Side, documents: Sequence[Document], seed: int, report: Report = silent
) -> DraftReport:
    """How often `target` takes what `draft` proposes.

    Raises UsageError for vocabularies that cannot be paired, and as running either does.
    """
    check_vocabularies(draft.name, target.name, draft.tokens, target.tokens)
    with _logits(draft, documents, report) as small, _logits(target, documents, report) as large:
        return pair_up(
            (draft.name, target.name),
            small,
            large,
            documents,
            cost=draft.size / target.size,
            seed=seed,
            progress=staged_progress(report, "pair"),
        )


@contextmanager
def _logits(side: Side, documents: Sequence[Document], report: Report) -> Iterator[Logits]:
    if isinstance(side.model, Checkpoint):
        ids = [document.ids for document in documents]
        yield Reference(side.model, ids, staged_progress(report, f"run {side.name}")).logits
    else:
        with runtimes.open(side.model) as runtime:
            yield lambda index: runtime.logits(documents[index].ids)
