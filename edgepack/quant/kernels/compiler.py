"""How every kernel is compiled: C's arithmetic, no GIL, once per machine.

The reference encoders are C: float32 throughout, division by zero gives infinity, no operation is
reordered and no multiply is fused with an add. Each kernel has one signature, so that importing
its module compiles it, or loads it from the cache.

The cache lies in the user's cache folder under a digest of all kernel sources. Beside the code,
numba's own choice, it would outlive an upgrade that changes a function which another file calls.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TypeVar, cast

import numba
from numba import types
from numba.core.caching import FunctionCache
from numba.core.runtime.nrt import rtsys

from edgepack.quant.kernels import announce

Kernel = TypeVar("Kernel", bound=Callable[..., object])

_OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": False, "boundscheck": False}
_INNER = {**_OPTIONS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
_CONFIG_LOCK = threading.Lock()


def array(element: object, dimensions: int = 2, readonly: bool = False) -> object:
    """The type of a C-contiguous array."""
    return types.Array(element, dimensions, "C", readonly=readonly)


FLOATS, BYTES = array(types.float32), array(types.uint8)
READ_FLOATS, READ_BYTES = array(types.float32, readonly=True), array(types.uint8, readonly=True)
FLOAT_ROW, BYTE_ROW = array(types.float32, dimensions=1), array(types.uint8, dimensions=1)
READ_FLOAT_ROW = array(types.float32, readonly=True, dimensions=1)
READ_BYTE_ROW = array(types.uint8, readonly=True, dimensions=1)
INTEGER = types.int32


def encoder(function: Kernel) -> Kernel:
    """Compile `encode(blocks, importance, out) -> None`.

    blocks float32[n, block]; importance float32[m, block], where m blocks make a row, or of no
    rows; out uint8[n, block_bytes].
    """
    return _compile(function, READ_FLOATS, READ_FLOATS, BYTES)


def decoder(function: Kernel) -> Kernel:
    """Compile `decode(blocks: uint8[n, block_bytes], out: float32[n, block]) -> None`."""
    return _compile(function, READ_BYTES, FLOATS)


def kernel(*arguments: object) -> Callable[[Kernel], Kernel]:
    """Compile a function that returns nothing for `arguments`, such as BYTES, FLOATS or INTEGER."""
    return lambda function: _compile(function, *arguments)


def inner(function: Kernel) -> Kernel:
    """Mark a function that kernels call: compiled into each of them, never on its own."""
    return cast(Kernel, numba.njit(**_INNER)(function))


def _compile(function: Kernel, *arguments: object) -> Kernel:
    folder = _cache_folder()
    name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
    if folder is None or not any(folder.glob(f"*/{name}-*.nbi")):
        announce(name)
    signature = types.void(*arguments)
    if folder is not None:
        try:
            with _numba_cache_dir(folder):
                return _cached(function, signature)
        except (OSError, EOFError, pickle.UnpicklingError):  # it is full, or was cut off
            _forget(folder, name)
    return cast(Kernel, numba.njit(signature, **_OPTIONS)(function))


class _Cache(FunctionCache):  # type: ignore[misc]
    """numba's, but that machine code is loaded without readying the compiler for it.

    That takes a quarter of a second, and has its place when something is compiled.
    """

    def load_overload(self, signature: object, target: object) -> object:
        rtsys.initialize(target)
        with self._guard_against_spurious_io_errors():
            return self._load_overload(signature, target)


def _cached(function: Kernel, signature: object) -> Kernel:
    """As `njit(signature, cache=True)`."""
    dispatcher = numba.njit(**_OPTIONS)(function)
    dispatcher._cache = _Cache(function)
    dispatcher.compile(signature)
    dispatcher.disable_compile()
    return cast(Kernel, dispatcher)


def _forget(folder: Path, name: str) -> None:
    """What is cached of a kernel is of no use."""
    with suppress(OSError):
        for entry in folder.glob(f"*/{name}-*"):
            entry.unlink(missing_ok=True)


@contextmanager
def _numba_cache_dir(folder: Path | None) -> Iterator[None]:
    """numba's setting is process-wide; other users of numba keep theirs."""
    with _CONFIG_LOCK:
        before = numba.config.CACHE_DIR
        numba.config.CACHE_DIR = str(folder or before)
        try:
            yield
        finally:
            numba.config.CACHE_DIR = before


@cache
def _cache_folder() -> Path | None:
    """A writable folder that only these kernel sources use, or None: then nothing is cached."""
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    try:
        folder = _cache_root() / digest.hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except (OSError, RuntimeError):  # read-only, or no home at all
        return None
    return folder


def _cache_root() -> Path:
    """NUMBA_CACHE_DIR where the user set it, else the user's cache folder."""
    if numba.config.CACHE_DIR:
        return Path(numba.config.CACHE_DIR)
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home, "edgepack", "numba")
