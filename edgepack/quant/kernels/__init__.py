"""Encoders and decoders over plain arrays, compiled.

ggml's encodings have a module each, found by its name, that offers `encode` and `decode` over
blocks. Searches run in `lanes`, sixteen blocks at once. Encodings in planes name their modules.
Importing one compiles it, or loads it from the cache: a few seconds the first time. Nothing here
knows of tensors, files or models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pkgutil import iter_modules

Listener = Callable[[str], None]
_listeners: list[Listener] = []


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """While this lasts `listener` is told the name of every kernel before it is compiled.

    That happens once on a machine, wherever a kernel is first needed; loading one is not told.
    """
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def announce(name: str) -> None:
    """The kernel called `name` is about to be compiled."""
    for listener in _listeners:
        listener(name)


def warm() -> int:
    """Compile, or load, every kernel; returns how many modules there are."""
    names = [module.name for module in iter_modules(__path__)]
    for name in names:
        import_module(f"{__name__}.{name}")
    return len(names)
