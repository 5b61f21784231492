"""Dataclasses to plain tables and back, by their own type hints.

Understands str, int, float, bool, Literal, `X | None`, `tuple[X, ...]` and other dataclasses. None
is left out. Integers are counts: never negative, at most 64 bits signed, as TOML has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from math import isfinite
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, get_args, get_origin, get_type_hints

from edgepack.errors import DamagedInput, EdgepackError, unknown

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    T = TypeVar("T", bound=DataclassInstance)

Rule = Callable[[str], str]  # what is wrong with a text, empty if nothing is

LARGEST: Final = 2**63 - 1
EXTENSION: Final = "x-"  # keys that other tools may add anywhere
_SPOKEN: Final[Mapping[type, str]] = {
    str: "a string", int: "an integer", float: "a float", bool: "true or false",
    list: "an array", dict: "a table",
}  # fmt: skip


def to_table(record: DataclassInstance) -> dict[str, object]:
    """`record` as plain values, fields in their order."""
    values = ((field.name, getattr(record, field.name)) for field in fields(record))
    return {name: _plain(value) for name, value in values if value is not None}


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return to_table(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


@dataclass(frozen=True, slots=True)
class Codec:
    """Reads tables that came from `file`. `rules` bind the texts of fields by the field's name.

    A `strict` codec refuses unknown keys, but for extensions; another passes them over.
    """

    file: str
    rules: Mapping[str, Rule]
    strict: bool = True

    def record(self, kind: type[T], table: object, key: str = "") -> T:
        """The table as a `kind`. Raises DamagedInput naming file and key."""
        if not isinstance(table, dict):
            raise self.damaged(key, f"is {_spoken(table)}, not a table")
        hints = get_type_hints(kind)
        names = [field.name for field in fields(kind)]
        prefix = f"{key}." if key else ""
        if self.strict:
            self._refuse_unknown(table, names, prefix)
        values = {name: self._field(hints[name], table, name, prefix + name) for name in names}
        try:
            return kind(**values)
        except EdgepackError as error:
            raise self.damaged(key, error.message, error.hint) from error

    def damaged(self, key: str, what: str, hint: str = "") -> DamagedInput:
        """The error for one key of the file."""
        shown = key if key.isprintable() else repr(key)
        place = f"{self.file}: {shown}" if key else self.file
        return DamagedInput(f"{place} {what}", hint or "restore the file; it is not made by hand")

    def _refuse_unknown(self, table: Mapping[str, object], names: list[str], prefix: str) -> None:
        for name in table:
            if name not in names and not name.startswith(EXTENSION):
                hint = unknown("key", name, names).hint
                raise self.damaged(prefix + name, "is not a known key", hint)

    def _field(self, kind: Any, table: Mapping[str, object], name: str, key: str) -> object:
        kinds = get_args(kind)
        optional = NoneType in kinds
        if optional:
            (kind,) = (k for k in kinds if k is not NoneType)
        value = table.get(name)
        if value is not None:
            return self._value(kind, value, name, key)
        if optional:
            return None
        raise self.damaged(key, "is missing")

    def _value(self, kind: Any, value: object, name: str, key: str) -> object:
        if isinstance(kind, type) and is_dataclass(kind):
            return self.record(kind, value, key)
        origin = get_origin(kind)
        if origin is tuple:
            item = get_args(kind)[0]
            values = self._array(value, key)
            return tuple(self._value(item, v, name, f"{key}[{i}]") for i, v in enumerate(values))
        if origin is Literal:
            return self._choice(get_args(kind), value, key)
        if type(value) is not kind:
            raise self.damaged(key, f"is {_spoken(value)}, not {_SPOKEN[kind]}")
        fault = self._fault(value, name)
        if fault:
            raise self.damaged(key, fault)
        return value

    def _array(self, value: object, key: str) -> list[object]:
        if not isinstance(value, list):
            raise self.damaged(key, f"is {_spoken(value)}, not an array")
        return value

    def _choice(self, known: Sequence[str], value: object, key: str) -> str:
        if isinstance(value, str) and value in known:
            return value
        shown = repr(value) if isinstance(value, str) else _spoken(value)
        raise self.damaged(key, f"is {shown}, not one of {', '.join(known)}")

    def _fault(self, value: object, name: str) -> str:
        if type(value) is int and not 0 <= value <= LARGEST:
            return "is negative" if value < 0 else "does not fit 64 bits"
        if isinstance(value, float) and not isfinite(value):
            return f"is {value}, not a finite number"
        if isinstance(value, str) and name in self.rules:
            return self.rules[name](value)
        return ""


def _spoken(value: object) -> str:
    return _SPOKEN.get(type(value), f"a {type(value).__name__}")
