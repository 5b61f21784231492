"""config.json, read with types: this is as far as it comes into the house."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepack.errors import DamagedInput, Missing, Unsupported

EXTENT_LIMIT = 2**31  # no width or count of a real model is near this


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from `path`. Raises Missing or DamagedInput naming the file."""
    value = _load(path)
    if not isinstance(value, dict):
        raise DamagedInput(f"{path}: found a JSON {type(value).__name__}", "it must be an object")
    return value


def read_objects(path: Path) -> list[dict[str, Any]]:
    """A JSON array of objects. Raises as `read_json` does."""
    value = _load(path)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise DamagedInput(f"{path}: not an array of objects", "fetch it again")
    return value


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise Missing(f"{path}: no such file", "a checkpoint folder must hold it") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedInput(f"{path}: not readable as JSON: {error}", "fetch it again") from error


@dataclass(frozen=True, slots=True)
class Config:
    """Typed access to one config.json; `path` is for the messages."""

    path: Path
    values: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> Config:
        return cls(path, read_json(path))

    def integer(self, key: str, default: int | None = None) -> int:
        """A positive integer. Raises DamagedInput if absent without default, or not one."""
        value = self._get(key, default)
        if type(value) is not int or not 0 < value < EXTENT_LIMIT:
            raise self._wrong(key, value, f"a positive integer, at most {EXTENT_LIMIT - 1}")
        return value

    def optional_integer(self, key: str) -> int | None:
        """As `integer`, or None where it is absent or null."""
        return None if self.values.get(key) is None else self.integer(key)

    def number(self, key: str, default: float | None = None) -> float:
        """A positive finite number."""
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e30:
            raise self._wrong(key, value, "a positive number")
        return float(value)

    def flag(self, key: str, default: bool = False) -> bool:
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise self._wrong(key, value, "true or false")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        value = self._get(key, default)
        if not isinstance(value, str):
            raise self._wrong(key, value, "a string")
        return value

    def section(self, key: str) -> Config:
        """A nested object, or an empty one where it is absent or null."""
        value = self.values.get(key) or {}
        if not isinstance(value, dict):
            raise self._wrong(key, value, "an object")
        return Config(self.path, value)

    def require(self, key: str, allowed: tuple[str, ...], default: str) -> None:
        """Raises Unsupported unless the string at `key` is one of `allowed`."""
        value = self.text(key, default)
        if value not in allowed:
            raise Unsupported(
                f"{self.path}: {key} is {value!r}", f"supported: {', '.join(allowed)}"
            )

    def _get(self, key: str, default: Any) -> Any:
        value = self.values.get(key)
        return default if value is None else value

    def _wrong(self, key: str, value: Any, required: str) -> DamagedInput:
        found = "is missing" if value is None else f"is {value!r}"
        return DamagedInput(f"{self.path}: {key} {found}", f"it must be {required}")
