"""What must be equal before distances mean anything: the artifact's tokenizer is the checkpoint's.

Distances are measured on given token ids, so they cannot see a tokenizer that would have made
other ids of the same text, that begins a prompt otherwise, or never stops. This looks at just that.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from edgepack.fidelity.checks import Check, verdict_of
from edgepack.fidelity.corpus import Document
from edgepack.fidelity.runtimes import Runtime, SpecialIds


class SpecialTokens(Protocol):
    """What the checkpoint says of its special tokens."""

    @property
    def bos_id(self) -> int | None: ...

    @property
    def eos_id(self) -> int | None: ...

    @property
    def add_bos(self) -> bool: ...


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
            different.append(f"{document.name} {first_difference(expected, found)}")
    if not different:
        return ()
    return (
        f"tokenizer: {runtime.name} splits {len(different)} of {len(documents)} documents "
        f"otherwise than the checkpoint does, first {different[0]}",
    )


def special_token_differences(
    runtime: Runtime, tokenizer: SpecialTokens, stop_ids: Collection[int]
) -> tuple[str, ...]:
    """A reason to fail for BOS, EOS, stop tokens, and adding of BOS, where the artifact differs.

    `stop_ids` are all that end a turn. An id that the checkpoint does not state is not compared: a
    runtime may have a default for it.
    """
    found = runtime.special_ids
    if found is None:
        return ()
    ids = (("BOS", tokenizer.bos_id, found.bos), ("EOS", tokenizer.eos_id, found.eos))
    reasons = [
        f"special tokens: {name} is {has} in {runtime.name}, {stated} in the checkpoint"
        for name, stated, has in ids
        if stated is not None and stated != has
    ]
    if not _stops_alike(found, stop_ids):
        assert found.stops is not None
        reasons.append(
            f"special tokens: {runtime.name} stops at {sorted(found.stops)}, "
            f"the checkpoint at {sorted(stop_ids)}"
        )
    if found.add_bos not in (None, tokenizer.add_bos):
        who = runtime.name if found.add_bos else "the checkpoint"
        reasons.append(f"special tokens: {who} alone puts BOS in front of a text")
    return tuple(reasons)


def _stops_alike(found: SpecialIds, stop_ids: Collection[int]) -> bool:
    """A runtime that finds stop tokens by their text may find more than the checkpoint states."""
    if found.stops is None or not stop_ids:
        return True
    return found.stops >= set(stop_ids) if found.finds_stops else found.stops == set(stop_ids)


def special_token_check(
    runtime: Runtime, tokenizer: SpecialTokens, stop_ids: Collection[int]
) -> Check:
    """`special_token_differences` as one check."""
    name = "special tokens"
    if runtime.special_ids is None:
        return Check(name, None, f"{runtime.name} leaves them to its caller")
    found = special_token_differences(runtime, tokenizer, stop_ids)
    told = (reason.removeprefix(f"{name}: ") for reason in found)
    return verdict_of(name, told, "BOS, EOS and stop tokens are the checkpoint's")


def tokenizer_check(runtime: Runtime, tokenizer: TextCodec, documents: Sequence[Document]) -> Check:
    """`tokenizer_differences` as one check."""
    found = tokenizer_differences(runtime, tokenizer, documents)
    told = (reason.removeprefix("tokenizer: ") for reason in found)
    return verdict_of("tokenizer", told, f"{len(documents)} documents split alike")


def first_difference(expected: Sequence[int], found: Sequence[int]) -> str:
    """Where two sequences of ids part, and what follows there in each."""
    pairs = zip(expected, found, strict=False)
    at = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(expected), len(found)))
    return f"at token {at}: {list(expected[at : at + 4])} became {list(found[at : at + 4])}"
