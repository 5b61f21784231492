"""Strict reading of one TOML table: every key known, every value of its kind, or a UsageError."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgepack.errors import UsageError, unknown

MOST_COUNTED = 10**15
"""More than any figure of a device or a model."""

LONGEST_TOLD = 64
"""Characters of a wrong value that a message repeats."""

SLOWEST, FASTEST = 1e-6, 10**6
"""The least and the most of a rate: a petabyte, or 10**18 operations, a second."""


@dataclass(frozen=True, slots=True)
class Table:
    """`label` names the table in messages: the file, then the path of keys within it."""

    label: str
    content: Mapping[str, object]

    def expect(self, *known: str) -> Table:
        """This table; raises UsageError with the nearest `known` key for any other."""
        for key in self.content:
            if key not in known:
                raise unknown(f"key in {self.label}:", key, known)
        return self

    def text(self, key: str) -> str | None:
        value = self.content.get(key)
        if value is not None and (not isinstance(value, str) or not value.strip()):
            raise self._wrong(key, "some text in quotes")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.content.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._wrong(key, "a list of texts")
        return tuple(value)

    def count(self, key: str, most: int = MOST_COUNTED) -> int | None:
        """A whole number above zero, `most` at most."""
        value = self.content.get(key)
        if value is not None and (type(value) is not int or not 0 < value <= most):
            raise self._wrong(key, f"a whole number above zero, and at most {most:,}")
        return value

    def rate(self, key: str) -> float | None:
        """A number above zero, of a size that a device can have."""
        value = self.content.get(key)
        if value is None:
            return None
        required = f"a number above zero, from {SLOWEST:g} to {FASTEST:,}"
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(key, required)
        if not SLOWEST <= value <= FASTEST:
            raise self._wrong(key, required)
        return float(value)

    def share(self, key: str) -> float | None:
        """A number from 0 to 1."""
        return self.between(key, 0, 1)

    def between(self, key: str, least: float, most: float) -> float | None:
        """A number from `least` to `most`, both allowed."""
        value = self.content.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(key, f"a number from {least:g} to {most:g}")
        if not least <= value <= most:
            raise self._wrong(key, f"a number from {least:g} to {most:g}")
        return float(value)

    def flag(self, key: str) -> bool:
        value = self.content.get(key, False)
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false")
        return value

    def table(self, key: str) -> Table:
        value = self.content.get(key, {})
        if not isinstance(value, dict):
            raise self._wrong(key, f"a table, written [{key}]")
        return Table(f"{self.label} [{key}]", value)

    def tables(self, key: str) -> tuple[Table, ...]:
        value = self.content.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self._wrong(key, f"a list of tables, written [[{key}]]")
        return tuple(Table(f"{self.label} [[{key}]]", item) for item in value)

    def _wrong(self, key: str, required: str) -> UsageError:
        found = repr(self.content[key])
        told = found if len(found) <= LONGEST_TOLD else f"{found[:LONGEST_TOLD]}..."
        return UsageError(f"{self.label}: {key} is {told}", f"it must be {required}")
