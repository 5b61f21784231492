"""What must be equal before distances mean anything: the artifact's tokenizer is the checkpoint's.

Distances are measured on given token ids, so they cannot see a tokenizer that would have made
other ids of the same text. This looks at just that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from edgepack.fidelity.corpus import Document
from edgepack.fidelity.runtimes import Runtime


class TextCodec(Protocol):
    """The checkpoint's own tokenizer."""

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: Sequence[int]) -> str: ...


def tokenizer_differences(
    runtime: Runtime, tokenizer: TextCodec, documents: Sequence[Document]
) -> tuple[str, ...]:
    """A reason to fail if the runtime splits any document's text into other ids; else nothing."""
    different = []
    for document in documents:
        text = tokenizer.decode(document.ids)
        expected, found = tokenizer.encode(text), runtime.tokenize(text)
        if expected != found:
            different.append(f"{document.name} {_first_difference(expected, found)}")
    if not different:
        return ()
    return (
        f"tokenizer: {runtime.name} splits {len(different)} of {len(documents)} documents "
        f"otherwise than the checkpoint does, first {different[0]}",
    )


def _first_difference(expected: Sequence[int], found: Sequence[int]) -> str:
    pairs = zip(expected, found, strict=False)
    at = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(expected), len(found)))
    return f"at token {at}: {list(expected[at : at + 4])} became {list(found[at : at + 4])}"
