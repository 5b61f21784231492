"""Strings that two tokenizers, which agree on plain prose, may split otherwise."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Final, Protocol

from edgepack.errors import EdgepackError
from edgepack.fidelity.checks import Check
from edgepack.fidelity.structure import first_difference

FORGIVEN: Final = frozenset({"marks", "nul"})
"""Kinds of text that runtimes split otherwise whatever the artifact says (corpora/README.md)."""
SPELLED: Final = 32  # of a vocabulary's control tokens: some have thousands, all alike


class Encoder(Protocol):
    """The checkpoint's own tokenizer."""

    @property
    def control_ids(self) -> frozenset[int]: ...

    @property
    def tokens(self) -> Sequence[str]: ...

    def encode(self, text: str) -> list[int]: ...


class Splitter(Protocol):
    """An artifact in its runtime, as far as its tokenizer goes."""

    name: str

    def tokenize(self, text: str) -> list[int]: ...


@dataclass(frozen=True, slots=True)
class Sample:
    """A string, and the kind of difficulty it stands for."""

    kind: str
    text: str


def samples(tokenizer: Encoder) -> tuple[Sample, ...]:
    """The committed strings, then the control tokens of this vocabulary within other text."""
    path = resources.files("edgepack.fidelity") / "corpora" / "strings.jsonl"
    lines = path.read_text("utf-8").splitlines()
    committed = [Sample(**json.loads(line)) for line in lines]
    return (*committed, *_control_samples(tokenizer))


def _control_samples(tokenizer: Encoder) -> Iterator[Sample]:
    named = [tokenizer.tokens[i] for i in sorted(tokenizer.control_ids)[:SPELLED]]
    for token in named:
        yield Sample("control", f"a{token}b{token}{token}\n{token}1")
        yield Sample("control", token[:-1])
    if named:
        yield Sample("control", "".join(named))


def tokenizer_checks(runtime: Splitter, tokenizer: Encoder) -> tuple[Check, ...]:
    """A check for each kind of string: the runtime splits them as the checkpoint does."""
    by_kind: dict[str, list[Sample]] = {}
    for sample in samples(tokenizer):
        by_kind.setdefault(sample.kind, []).append(sample)
    return tuple(_kind_check(runtime, tokenizer, kind, held) for kind, held in by_kind.items())


def _kind_check(runtime: Splitter, tokenizer: Encoder, kind: str, held: Sequence[Sample]) -> Check:
    name, found = f"tokenizer, {kind}", list(_differences(runtime, tokenizer, held))
    if not found:
        return Check(name, True, f"{len(held)} strings split alike")
    return Check(
        name,
        None if kind in FORGIVEN else False,
        f"{runtime.name} splits {len(found)} of {len(held)} strings otherwise than the checkpoint "
        f"does, first {found[0]}",
    )


def _differences(runtime: Splitter, tokenizer: Encoder, held: Iterable[Sample]) -> Iterator[str]:
    for sample in held:
        expected = tokenizer.encode(sample.text)
        shown = sample.text if len(sample.text) <= 40 else sample.text[:40] + "..."
        try:
            found = runtime.tokenize(sample.text)
        except EdgepackError as error:
            yield f"{shown!a}: {error.message}"
            continue
        if found != expected:
            yield f"{shown!a} {first_difference(expected, found)}"
