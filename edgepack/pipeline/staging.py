"""One result, written last: work happens in OUT.partial, and one rename publishes it as OUT."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgepack.errors import FidelityFailed, FidelityInconclusive, OutputError
from edgepack.units import format_bytes

PACKAGE_FILE = "edgepack.toml"
SPARE_BYTES = 16 * 1024 * 1024  # manifest, reports, and the file system's own needs


def check_output(out: Path, *, force: bool) -> None:
    """Raises OutputError if `out` exists and may not be replaced.

    Even `force` replaces only what edgepack writes: a file, a package, a folder of artifacts.
    """
    if not out.exists() and not out.is_symlink():
        return
    if not force:
        raise OutputError(f"{out} exists", "choose another -o, or replace it with --force")
    if out.is_symlink() or out.is_dir() == is_file_name(out) or not _replaceable(out):
        raise OutputError(
            f"{out} is not a package or a folder of artifacts", "--force does not replace it"
        )


def check_space(out: Path, needed: int) -> None:
    """Raises OutputError if the device under `out` has fewer free bytes than `needed`."""
    parent = next(folder for folder in out.absolute().parents if folder.is_dir())
    free = shutil.disk_usage(parent).free
    if free < needed + SPARE_BYTES:
        raise OutputError(
            f"{parent}: {format_bytes(free)} free, {format_bytes(needed + SPARE_BYTES)} needed",
            "free some space, or choose another -o",
        )


@contextmanager
def staged(out: Path, *, force: bool = False) -> Iterator[Path]:
    """Yield the empty folder OUT.partial; when the block succeeds it becomes OUT by one rename.

    Where OUT names a file (`model.gguf`), the one file in the folder becomes OUT.

    A failed verdict leaves OUT.partial for inspection; any other error or an interruption removes
    it. An earlier OUT stays whole until the rename. Raises OutputError when OUT may not be
    replaced, another run is writing it, or the folder cannot be made.
    """
    check_output(out, force=force)
    partial = out.with_name(f"{out.name}.partial")
    lock = _claim(partial)
    try:
        yield partial
        _sync(partial)
        _publish(partial, out)
    except (FidelityFailed, FidelityInconclusive):
        raise
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    finally:
        if lock is not None:
            os.close(lock)


def _claim(partial: Path) -> int | None:
    """An empty OUT.partial and the lock on it; what an interrupted run left there is removed."""
    try:
        partial.mkdir(parents=True, exist_ok=True)
        lock = _lock(partial)
    except BlockingIOError as error:
        raise OutputError(f"{partial} is being written by another run", "wait for it") from error
    except OSError as error:
        raise OutputError(
            f"{partial}: cannot be made: {error.strerror}", "check the folder given with -o"
        ) from error
    for entry in partial.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    return lock


def _lock(folder: Path) -> int | None:
    """An exclusive lock on a folder, to be closed; None on Windows, which has none.

    Raises BlockingIOError where another process holds it.
    """
    if sys.platform == "win32":
        return None
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _sync(folder: Path) -> None:
    """What is published must survive a power cut; Windows cannot open a folder to sync it."""
    if sys.platform == "win32":
        return
    for path in (*folder.rglob("*"), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _publish(partial: Path, out: Path) -> None:
    try:
        if is_file_name(out):
            (only,) = partial.iterdir()
            only.replace(out)
            partial.rmdir()
        elif not out.exists():
            partial.rename(out)
        else:
            earlier = out.with_name(f"{out.name}.replaced")
            out.rename(earlier)
            partial.rename(out)
            shutil.rmtree(earlier)
    except OSError as error:
        raise OutputError(f"{out}: cannot be published: {error.strerror}", "check -o") from error


def is_file_name(out: Path) -> bool:
    """Whether -o names one artifact file and not a folder."""
    return out.suffix == ".gguf"


def _replaceable(out: Path) -> bool:
    """An artifact, a package, an empty folder, or one that holds artifacts and nothing else."""
    if out.is_file():
        return True
    entries = list(out.iterdir())
    return (out / PACKAGE_FILE).is_file() or all(e.suffix == ".gguf" for e in entries)
