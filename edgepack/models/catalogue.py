"""The catalogue: models known by a short name, each by what its own config.json says.

    repository = "org/name"   where its weights are
    licence = "Apache-2.0"
    released = "2025-01"      year and month
    parameters = 7615616512   weights of the whole, which [config] must amount to
    [config]                  the keys of its config.json that its family reads
    model_type = "qwen2"
    ...

It knows shapes, and holds no weights. An entry's name is its file's name; entries of the user, in
the configuration directory's `edgepack/models`, come before those of the same name that ship.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TypeVar

from edgepack.errors import UsageError, unknown
from edgepack.models import families
from edgepack.models.config import Config
from edgepack.models.decoder import Decoder
from edgepack.models.hub import split_id
from edgepack.profiles import Table, files, read, text

T = TypeVar("T")

KIND = "models"
LISTED = "`edgepack profiles list --models` names the catalogue's"
MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """`released` is a year and a month; `parameters` the weights of `decoder`, as published."""

    name: str
    repository: str
    licence: str
    released: str
    decoder: Decoder
    parameters: int


def names() -> tuple[str, ...]:
    """Names of the shipped and the user's entries, sorted."""
    return tuple(sorted(_files()))


def match(text: str) -> str | None:
    """The name that `text` means, if any: case is all one, and so are hyphens, `_` and spaces."""
    wanted = _plain(text)
    return next((name for name in _files() if _plain(name) == wanted), None)


def entry(name: str) -> CatalogueEntry:
    """The model that `name` means.

    Raises UsageError for a name that is not there, with a near match, and for a file that breaks
    the format above; DamagedInput or Unsupported for a [config] that no family can read.
    """
    known = match(name)
    if known is None:
        raise unknown_model(name)
    return read_entry(known, _files()[known])


def profile_text(name: str) -> str:
    """The file of the model that `name` means, with its comments, which name the sources."""
    known = match(name)
    if known is None:
        raise unknown_model(name)
    return text(_files()[known])


def read_entry(name: str, file: Traversable) -> CatalogueEntry:
    """The model in `file`; raises as `entry` does."""
    top = read(file).expect("repository", "licence", "released", "parameters", "config")
    repository, released = _text(top, "repository"), _text(top, "released")
    if "@" in repository or not split_id(repository):
        raise UsageError(f"{file}: repository is {repository!r}", "it must be a hub id, org/name")
    if not MONTH.fullmatch(released):
        raise UsageError(f"{file}: released is {released!r}", "it must be a month, such as 2025-01")
    decoder = families.decoder(Config(Path(str(file)), top.table("config").content))
    stated = _stated(top, "parameters", top.count("parameters"))
    if stated != decoder.parameters:
        raise UsageError(
            f"{file}: parameters is {stated}, [config] amounts to {decoder.parameters}",
            "one of them is not this model's",
        )
    return CatalogueEntry(name, repository, _text(top, "licence"), released, decoder, stated)


def unknown_model(name: str) -> UsageError:
    """The error for a `name` that is no model's, here, on the hub or in the catalogue."""
    error = unknown("model", name, names())
    near = f"{error.hint} If not, " if error.hint.startswith("did you mean") else ""
    return UsageError(
        error.message, f"{near}give a checkpoint folder or a hub id org/name; {LISTED}"
    )


def _text(table: Table, key: str) -> str:
    return _stated(table, key, table.text(key))


def _stated(table: Table, key: str, value: T | None) -> T:
    if value is None:
        raise UsageError(f"{table.label}: {key} is missing", "every entry states it")
    return value


def _files() -> dict[str, Traversable]:
    """File by name, as it ships or else as the user spells it; the user's win, however spelt."""
    found: dict[str, tuple[str, Traversable]] = {}
    for name, file in files(KIND).items():  # those that ship come first
        known, _ = found.get(_plain(name), (name, file))
        found[_plain(name)] = known, file
    return dict(found.values())


def _plain(name: str) -> str:
    return re.sub(r"[-_\s]+", "", name).lower()
