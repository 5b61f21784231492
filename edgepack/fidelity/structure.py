"""What must be equal before distances mean anything: the artifact's tokenizer is the checkpoint's.

Distances are measured on given token ids, so they cannot see a tokenizer that would have made
other ids of the same text, that begins a prompt otherwise, or never stops. This looks at just that.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, Protocol

from edgepack.fidelity.checks import Check, verdict_of
from edgepack.fidelity.corpus import Document
from edgepack.fidelity.runtimes import Runtime, SpecialIds

# llama.cpp ends a turn at these texts (llama-vocab.cpp, special_eog_ids), and checkpoints that have
# them may state them as added tokens that are not special.
_FILL_IN_THE_MIDDLE: Final = frozenset({"<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"})


class SpecialTokens(Protocol):
    """What the checkpoint says of its special tokens."""

    @property
    def tokens(self) -> Sequence[str]: ...

    @property
    def control_ids(self) -> frozenset[int]: ...

    @property
    def bos_id(self) -> int | None: ...

    @property
    def eos_id(self) -> int | None: ...

    @property
    def pad_id(self) -> int | None: ...

    @property
    def add_bos(self) -> bool: ...

    @property
    def add_eos(self) -> bool: ...


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
    """A reason to fail for each special token, and adding of one, where the artifact differs.

    `stop_ids` are all that end a turn. An id that the checkpoint does not state is not compared: a
    runtime may have a default for it. Nor is a padding token that the artifact does not state.
    """
    found = runtime.special_ids
    if found is None:
        return ()
    pad = tokenizer.pad_id if found.pad is None else found.pad
    ids = (
        ("BOS", tokenizer.bos_id, found.bos),
        ("EOS", tokenizer.eos_id, found.eos),
        ("padding", tokenizer.pad_id, pad),
    )
    reasons = [
        f"special tokens: {name} is {has} in {runtime.name}, {stated} in the checkpoint"
        for name, stated, has in ids
        if stated is not None and stated != has
    ]
    if (wrong := _wrong_stops(found, tokenizer, stop_ids)) is not None:
        assert found.stops is not None
        named = ", ".join(f"{i} is {tokenizer.tokens[i]!r}" for i in wrong)
        reasons.append(
            f"special tokens: {runtime.name} stops at {sorted(found.stops)}, "
            f"the checkpoint at {sorted(stop_ids)}" + (f"; {named}" if named else "")
        )
    if found.add_bos not in (None, tokenizer.add_bos):
        who = runtime.name if found.add_bos else "the checkpoint"
        reasons.append(f"special tokens: {who} alone puts BOS in front of a text")
    if found.add_eos not in (None, tokenizer.add_eos):
        who = runtime.name if found.add_eos else "the checkpoint"
        reasons.append(f"special tokens: {who} alone puts EOS after a text")
    return tuple(reasons)


def _wrong_stops(
    found: SpecialIds, tokenizer: SpecialTokens, stop_ids: Collection[int]
) -> list[int] | None:
    """None where the stops are alike, else those that should not be there.

    A runtime that finds stop tokens by their text may find more than the checkpoint states, of its
    special tokens: what it writes in the midst of a reply must not end it.
    """
    if found.stops is None or not stop_ids:
        return None
    more = sorted(found.stops - set(stop_ids))
    if found.finds_stops:
        more = [
            i
            for i in more
            if i not in tokenizer.control_ids and tokenizer.tokens[i] not in _FILL_IN_THE_MIDDLE
        ]
    return more if more or not found.stops >= set(stop_ids) else None


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
