"""What artifacts are measured against: the reference's states, and what they are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgepack.fidelity.chunks import Chunk, chunks, default_window
from edgepack.fidelity.corpus import Document
from edgepack.fidelity.floor import Control, NoiseFloor, bench, control, noise_floor
from edgepack.fidelity.reference import Lane, Progress, States
from edgepack.fidelity.states import Store, states_of
from edgepack.models import Checkpoint


@dataclass(frozen=True, slots=True)
class Run:
    """The reference on `chunks` of documents, each at most `window` tokens long."""

    reference: States
    chunks: tuple[Chunk, ...]
    window: int


@dataclass(frozen=True, slots=True)
class Standard:
    """A run, and what it is worth."""

    run: Run
    floor: NoiseFloor
    control: Control


def standard(
    checkpoint: Checkpoint,
    documents: Sequence[Document],
    *,
    window: int | None = None,
    seed: int = 0,
    progress: Progress = lambda done, total: None,
    store: Store | None = None,
) -> Standard:
    """Run the reference once over all that is asked of it, or take what `store` has of it.

    `seed` draws the documents of the noise floor. Raises as `states_of`, `chunks` and
    `floor.control` do.
    """
    length, cut = _cut(checkpoint, documents, window)
    drawn = bench(checkpoint, cut, seed)
    states = states_of(checkpoint, drawn.lanes(), progress, store)
    return Standard(
        Run(states[0], cut, length),
        noise_floor(states, drawn, documents),
        control(states, drawn, documents),
    )


def run_on(
    checkpoint: Checkpoint,
    documents: Sequence[Document],
    *,
    window: int | None = None,
    progress: Progress = lambda done, total: None,
    store: Store | None = None,
) -> Run:
    """The reference on further documents, whose worth is known already. Raises as `standard`."""
    length, cut = _cut(checkpoint, documents, window)
    lane = Lane("documents", [chunk.ids for chunk in cut])
    (states,) = states_of(checkpoint, [lane], progress, store)
    return Run(states, cut, length)


def cut_notes(runs: Sequence[Run]) -> tuple[str, ...]:
    """That documents were cut, if some were."""
    cut = sum(len({chunk.document for chunk in run.chunks if chunk.scored > 1}) for run in runs)
    if not cut:
        return ()
    are = "document is" if cut == 1 else "documents are"
    return (f"{cut} {are} longer than {runs[0].window} tokens, and measured in chunks",)


def _cut(
    checkpoint: Checkpoint, documents: Sequence[Document], window: int | None
) -> tuple[int, tuple[Chunk, ...]]:
    decoder, tokenizer = checkpoint.decoder, checkpoint.tokenizer
    length = window or default_window(decoder.context_length, decoder.vocabulary)
    return length, chunks(documents, length, tokenizer.bos_id if tokenizer.add_bos else None)
