"""What a GGUF says of its model: the keys under its architecture's name, the names of tensors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgepack.errors import DamagedInput, Missing
from edgepack.formats.gguf import split
from edgepack.formats.gguf.inspection import scheme_of
from edgepack.formats.gguf.reader import Head
from edgepack.formats.gguf.values import Array
from edgepack.models.decoder import Weight

MOST: Final = 2**32 - 1  # keys are stored in 32 bits
BLOCK: Final = re.compile(r"blk\.(0|[1-9]\d{0,4})\.(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of an architecture; each raises DamagedInput for a value of another kind.

    Of those that differ by layer `integer` and `number` give the first layer's: it is the one that
    llama.cpp's rules of quantizing ask.
    """

    path: Path
    head: Head
    architecture: str

    def __contains__(self, key: str) -> bool:
        return f"{self.architecture}.{key}" in self.head.values

    def integer(self, key: str, default: int | None = None, most: int = MOST) -> int:
        """A positive number, not above `most`; `default` where there is none."""
        found = self._found(key, default)
        if isinstance(found, bool) or not isinstance(found, int) or not 0 < found <= most:
            raise self._wrong(key, found, f"a whole number from 1 to {most}")
        return found

    def number(self, key: str, default: float) -> float:
        found = self._found(key, default)
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise self._wrong(key, found, "a number")
        return float(found)

    def count(self, key: str) -> int:
        """A whole number that may be 0, as it is where there is none."""
        found = self._found(key, 0)
        return 0 if found == 0 and isinstance(found, int) else self.integer(key)

    def layered(self, key: str, layers: int, default: int | None = None) -> tuple[int, ...]:
        """A whole number for each of `layers`, 0 among them: stated once, or one by one."""
        found = self.head.values.get(f"{self.architecture}.{key}", default)
        each = found.elements() if isinstance(found, Array) else (found,) * layers
        if len(each) != layers or not all(isinstance(n, int) and 0 <= n <= MOST for n in each):
            shown = list(each[:8]) if isinstance(found, Array) else found
            raise self._wrong(key, shown, f"a whole number, or {layers} of them, one a layer,")
        return tuple(map(int, each))

    def _found(self, key: str, default: float | None) -> object:
        found = self.head.values.get(f"{self.architecture}.{key}", default)
        return found.elements()[0] if isinstance(found, Array) and found.count else found

    def _wrong(self, key: str, found: object, wanted: str) -> DamagedInput:
        return DamagedInput(
            f"{self.path}: {self.architecture}.{key} is {found!r}; {wanted} is required",
            "convert the model again",
        )


def check_there(entry: Path) -> None:
    """Raises Missing."""
    if not entry.exists():
        raise Missing(f"{entry}: no such file", "give a GGUF, a checkpoint folder or a hub id")


def model_name(entry: Path, head: Head) -> str:
    """The file's, without its number and its scheme: `model` of model-F16-00001-of-00002.gguf."""
    named = split.NAME.fullmatch(entry.name)
    name = named[1] if named else entry.stem
    scheme = f"-{scheme_of(head)}"
    return name[: -len(scheme)] if name.lower().endswith(scheme.lower()) else name


def weight_of(name: str, shape: tuple[int, ...]) -> Weight:
    """The weight of a tensor called `name`, `shape` as a checkpoint has it."""
    named = BLOCK.fullmatch(name)
    role, layer = (named[2], int(named[1])) if named else (name, None)
    return Weight(role, layer, shape or (1,), name)
