"""Documents longer than a window, in chunks that overlap.

A model is not run beyond its window, and a document is not cut short. Every token is scored once;
in every chunk but the first, the tokens it begins with only lead in: they were scored with more
before them in the chunk before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from edgepack.errors import UsageError
from edgepack.fidelity.corpus import Document

SHORTEST_WINDOW: Final = 16
# A chunk's logits, in float32: they are held for the reference and for the artifact.
LOGITS_BYTES: Final = 2 * 1024**3
# The share of a window that leads in: whole windows would be scored in 4/3 of the time.
_LEAD: Final = 4


@dataclass(frozen=True, slots=True)
class Chunk:
    """`ids` to run, which end with position `stop` - 1 of documents[document].

    Positions [`scored`, `stop`) are scored; the last ids before are what predicts them.
    """

    document: int
    ids: tuple[int, ...]
    scored: int
    stop: int

    @property
    def rows(self) -> slice:
        """The logits [len(ids), V] to score, and the last row, which predicts nothing known."""
        return slice(len(self.ids) - (self.stop - self.scored) - 1, len(self.ids))

    def piece(self, document: Document) -> Document:
        """The tokens that `rows` belong to, as a document of their own."""
        at = slice(self.scored - 1, self.stop)
        return Document(document.name, document.ids[at], document.spans[at])


def whole_chunks(documents: Sequence[Document]) -> tuple[Chunk, ...]:
    """A chunk for each document, whatever its length."""
    return tuple(Chunk(i, d.ids, 1, len(d.ids)) for i, d in enumerate(documents))


def chunks(documents: Sequence[Document], window: int, bos: int | None = None) -> tuple[Chunk, ...]:
    """Chunks of at most `window` tokens; documents that fit are whole.

    A document that begins with `bos` does so in every chunk: some models give nonsense without.
    Raises UsageError for a window of fewer than 16 tokens.
    """
    if window < SHORTEST_WINDOW:
        raise UsageError(
            f"a window of {window} tokens is too short", f"give at least {SHORTEST_WINDOW}"
        )
    return tuple(c for i, d in enumerate(documents) for c in _chunks(i, d, window, bos))


def default_window(context_length: int, vocabulary: int) -> int:
    """Tokens: the model's own window, or what LOGITS_BYTES hold where that is less."""
    return max(SHORTEST_WINDOW, min(context_length, LOGITS_BYTES // (4 * vocabulary)))


def _chunks(index: int, document: Document, window: int, bos: int | None) -> Iterator[Chunk]:
    ids = document.ids
    head = ids[:1] if bos is not None and ids[0] == bos else ()
    stop = min(window, len(ids))
    yield Chunk(index, ids[:stop], 1, stop)
    room = window - len(head)
    while stop < len(ids):
        start, scored = stop - room // _LEAD, stop
        stop = min(start + room, len(ids))
        yield Chunk(index, head + ids[start:stop], scored, stop)
