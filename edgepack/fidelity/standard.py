"""What artifacts are measured against: the reference's states, and what they are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgepack.fidelity.chunks import Chunk, chunks, default_window
from edgepack.fidelity.corpus import Document
from edgepack.fidelity.floor import Control, NoiseFloor, bench, control, noise_floor
from edgepack.fidelity.reference import Progress, States
from edgepack.fidelity.states import Store, states_of
from edgepack.models import Checkpoint


@dataclass(frozen=True, slots=True)
class Standard:
    """The reference on `chunks` of the documents, each at most `window` tokens long."""

    reference: States
    chunks: tuple[Chunk, ...]
    window: int
    floor: NoiseFloor
    control: Control

    @property
    def notes(self) -> tuple[str, ...]:
        """That documents were cut, if some were."""
        cut = len({chunk.document for chunk in self.chunks if chunk.scored > 1})
        if not cut:
            return ()
        are = "document is" if cut == 1 else "documents are"
        return (f"{cut} {are} longer than {self.window} tokens, and measured in chunks",)


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
    decoder = checkpoint.decoder
    length = window or default_window(decoder.context_length, decoder.vocabulary)
    tokenizer = checkpoint.tokenizer
    cut = chunks(documents, length, tokenizer.bos_id if tokenizer.add_bos else None)
    drawn = bench(checkpoint, cut, seed)
    states = states_of(checkpoint, drawn.lanes(), progress, store)
    return Standard(
        states[0],
        cut,
        length,
        noise_floor(states, drawn, documents),
        control(states, drawn, documents),
    )
