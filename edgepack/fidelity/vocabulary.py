"""The artifact's vocabulary beside the checkpoint's, entry by entry.

Texts that are split and put together again touch few entries of a large vocabulary; two strings
that changed places show here, whether or not anything is ever written with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from edgepack.fidelity.checks import Check, verdict_of

if TYPE_CHECKING:
    from edgepack.formats.dialect import Dialect
    from edgepack.models.tokenizer import Tokenizer

_NAME = "vocabulary"


def vocabulary_check(tokenizer: Tokenizer, stored: Dialect) -> Check:
    """Tokens and their kinds by id, merges by rank: the first that differs of each is named.

    Rows that the checkpoint only pads with are not compared: nothing is written with them.
    """
    if not stored.tokens:
        return Check(_NAME, None, "the artifact lists no tokens")
    listed = [f"{len(tokenizer.tokens)} tokens"]
    found = list(_tokens(tokenizer, stored.tokens))
    if stored.kinds:
        found += _kinds(tokenizer, stored.kinds)
        listed.append("their kinds")
    if stored.merges or tokenizer.scheme == "byte-level":  # else ranks stand as scores
        found += _merges(tokenizer.merges, stored.merges)
        listed.append(f"{len(tokenizer.merges)} merges")
    return verdict_of(_NAME, found, ", ".join(listed) + " are the checkpoint's")


def _tokens(tokenizer: Tokenizer, stored: Sequence[str]) -> Iterator[str]:
    different = [
        (i, own, has)
        for i, (own, has, kind) in enumerate(
            zip_longest(tokenizer.tokens, stored, tokenizer.kinds, fillvalue=None)
        )
        # an added token is text, and converters write the spaces of one as they are
        if kind != "unused" and own != has and (kind, own) != ("user_defined", _marked(has))
    ]
    if different:
        i, own, has = different[0]
        yield f"{_count(different, 'token')}, first id {i}: {has!r} where expected {own!r}"


def _kinds(tokenizer: Tokenizer, stored: Sequence[str]) -> Iterator[str]:
    different = [
        (i, own, has)
        for i, (own, has) in enumerate(zip_longest(tokenizer.kinds, stored))
        if own != has and own != "unused" and not _promoted(tokenizer, i, own, has)
    ]
    if different:
        i, own, has = different[0]
        text = f" {tokenizer.tokens[i]!r}" if i < len(tokenizer.tokens) else ""
        yield f"{_count(different, 'kind')}, first id {i}{text}: {has}, expected {own}"


def _merges(own: Sequence[tuple[str, str]], stored: Sequence[tuple[str, str]]) -> Iterator[str]:
    pairs = enumerate(zip(own, stored, strict=False))
    at = next((i for i, (a, b) in pairs if a != b), min(len(own), len(stored)))
    if len(own) != len(stored):
        yield f"{len(stored)} merges where expected {len(own)}"
    if at < min(len(own), len(stored)):
        has, stated = (" ".join(merges[at]) for merges in (stored, own))
        yield f"merges differ, first {at}: {has!r} where expected {stated!r}"


def _promoted(tokenizer: Tokenizer, i: int, own: str | None, has: str | None) -> bool:
    """Converters call what looks like a control token one, whatever the checkpoint says."""
    looks = i < len(tokenizer.tokens) and tokenizer.tokens[i].startswith(("<|", "<\uff5c"))
    return looks and (own, has) == ("user_defined", "control")


def _marked(text: str | None) -> str | None:
    return None if text is None else text.replace(" ", "\u2581")


def _count(different: Sequence[object], what: str) -> str:
    verb = f"{what} differs" if len(different) == 1 else f"{what}s differ"
    return f"{len(different)} {verb}"
