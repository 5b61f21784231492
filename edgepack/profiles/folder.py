"""Where profiles lie: those that ship, and the user's in the configuration directory.

A profile's name is its file's name. A user's profile in `edgepack/KIND` comes before a shipped one
of the same name.
"""

from __future__ import annotations

import os
import tomllib
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from edgepack.errors import UsageError
from edgepack.profiles.table import Table

_SUFFIX = ".toml"


def files(kind: str) -> dict[str, Traversable]:
    """File by profile name, of `kind` `devices` or `models`; the user's win."""
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return {**shipped(kind), **_listing(Path(config) / "edgepack" / kind)}


def shipped(kind: str) -> dict[str, Traversable]:
    """File by profile name: in the wheel, or in a source checkout beside the package."""
    package = resources.files("edgepack")
    installed = package / "profiles" / kind
    if installed.is_dir() or not isinstance(package, Path):
        return _listing(installed)
    return _listing(package.parent / "profiles" / kind)


def read(file: Traversable) -> Table:
    """The whole of `file`. Raises UsageError for what is not TOML."""
    try:
        return Table(str(file), tomllib.loads(text(file)))
    except (ValueError, RecursionError) as error:  # tables within tables, by the thousand
        raise UsageError(f"{file}: {error}", "a profile is a TOML file") from error


def text(file: Traversable) -> str:
    """`file` as it is, with the comments that name its sources. Raises UsageError."""
    try:
        return file.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(f"{file}: {error}", "a profile is a TOML file") from error


def _listing(folder: Traversable) -> dict[str, Traversable]:
    if not folder.is_dir():
        return {}
    found = (file for file in folder.iterdir() if file.name.endswith(_SUFFIX))
    return {file.name.removesuffix(_SUFFIX): file for file in found}
