"""One result, written last: work happens in OUT.partial, and one rename publishes it as OUT."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager
from pathlib import Path

from edgepack import formats
from edgepack.errors import FidelityFailed, FidelityInconclusive, OutputError
from edgepack.formats import journal
from edgepack.formats.output import DiskFull, unwritten_error
from edgepack.units import format_bytes

SPARE_BYTES = 16 * 1024 * 1024  # manifest, reports, and the file system's own needs


def check_output(out: Path, *, force: bool) -> None:
    """Raises OutputError if `out` exists and may not be replaced.

    Even `force` replaces only what edgepack writes: an artifact, a package with nothing else in it.
    """
    if not out.exists() and not out.is_symlink():
        return
    if not force:
        raise OutputError(f"{out} exists", "choose another -o, or replace it with --force")
    if out.is_symlink() or out.is_dir() == formats.names_file(out) or not _replaceable(out):
        raise OutputError(
            f"{out} is not a package, or holds files of somebody else",
            "--force does not replace it; move it away by hand",
        )


def check_source(out: Path, sources: Iterable[Path]) -> None:
    """Raises OutputError where replacing `out` would take one of the files that are read."""
    whole = out.resolve()
    for path in sources:
        if out.exists() and whole in (path.resolve(), *path.resolve().parents):
            raise OutputError(f"{out} is the source itself, or holds it", "choose another -o")


def check_space(out: Path, needed: int) -> None:
    """Raises OutputError if the device under `out` has fewer free bytes than `needed`."""
    parent = next(folder for folder in out.absolute().parents if folder.is_dir())
    free = shutil.disk_usage(parent).free + journal.allocated(_partial(out))
    if free < needed + SPARE_BYTES:
        raise OutputError(
            f"{parent}: {format_bytes(free)} free, {format_bytes(needed + SPARE_BYTES)} needed",
            "free some space, or choose another -o",
        )


@contextmanager
def staged(out: Path, *, force: bool = False) -> Iterator[Path]:
    """Yield the folder OUT.partial; when the block succeeds it becomes OUT by one rename.

    Where OUT names a file (`model.gguf`), the one file in the folder becomes OUT. The folder is
    empty, but for what an interrupted run wrote under a journal: the next one goes on from there.

    A failed verdict leaves OUT.partial for inspection; an undecided one, an interruption or a full
    disk leaves it to be resumed; any other error removes it. An earlier OUT stays whole until the
    rename.
    Raises OutputError when OUT may not be replaced, another run is writing it, or the folder cannot
    be made.
    """
    check_output(out, force=force)
    partial = _partial(out)
    lock = _claim(partial)
    try:
        yield partial
        _prune(partial)
        _sync(partial)
        (partial / journal.NAME).unlink(missing_ok=True)
        _sync_path(partial)
        _publish(partial, out)
    except FidelityFailed:
        (partial / journal.NAME).unlink(missing_ok=True)  # the next run is to make it anew
        raise
    except FidelityInconclusive:
        raise
    except (KeyboardInterrupt, DiskFull) as stop:
        if not _resumable(partial, stop):
            shutil.rmtree(partial, ignore_errors=True)
            raise
        kept = f"{partial} is kept: the same command goes on from there"
        if isinstance(stop, DiskFull):
            raise DiskFull(stop.message, f"free some; {kept}") from stop
        stop.add_note(kept)
        raise
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    finally:
        if lock is not None:
            os.close(lock)


def _resumable(partial: Path, stop: BaseException) -> bool:
    """Whether there is a journal, and what it counts is safe where the disk is full.

    Some file systems find room only when they write back what they took.
    """
    if not (partial / journal.NAME).is_file():
        return False
    try:
        if isinstance(stop, DiskFull):
            _sync(partial)
    except OutputError:
        return False
    return True


def _claim(partial: Path) -> int | None:
    """OUT.partial and the lock on it, with nothing in it but what a journal speaks of."""
    if partial.is_symlink():
        raise OutputError(f"{partial} is a symbolic link", "move it away, or choose another -o")
    try:
        partial.mkdir(parents=True, exist_ok=True)
        lock = _lock(partial)
    except BlockingIOError as error:
        raise OutputError(f"{partial} is being written by another run", "wait for it") from error
    except OSError as error:
        raise OutputError(
            f"{partial}: cannot be made: {error.strerror}", "check the folder given with -o"
        ) from error
    resumable = frozenset(journal.names(partial / journal.NAME))
    if not _only_ours(partial, resumable):
        if lock is not None:
            os.close(lock)
        raise OutputError(f"{partial} holds files of somebody else", "move it away by hand")
    _clear(partial, {partial / name for name in resumable | {journal.NAME}} if resumable else set())
    return lock


def _prune(folder: Path) -> None:
    """Remove empty folders: an interrupted run may have been for other formats."""
    for entry in folder.iterdir():
        if entry.is_dir() and not any(entry.iterdir()):
            entry.rmdir()


def _clear(folder: Path, kept: set[Path]) -> None:
    """Remove all below `folder` that is not, and does not hold, something kept."""
    for entry in folder.iterdir():
        if entry.is_dir() and any(entry in path.parents for path in kept):
            _clear(entry, kept)
        elif entry.is_dir():
            shutil.rmtree(entry)
        elif entry not in kept:
            entry.unlink()


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
    """What is published must survive a power cut. Raises OutputError where the disk fails."""
    for path in (*folder.rglob("*"), folder):
        _sync_path(path)


def _sync_path(path: Path) -> None:
    """Windows cannot open a folder to sync it."""
    if sys.platform == "win32":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise unwritten_error(path, error) from error
    finally:
        os.close(descriptor)


def _publish(partial: Path, out: Path) -> None:
    try:
        if formats.names_file(out):
            (only,) = partial.iterdir()
            only.replace(out)
            partial.rmdir()
        elif not out.exists():
            partial.rename(out)
        else:
            _replace(partial, out)
    except OSError as error:
        raise OutputError(f"{out}: cannot be published: {error.strerror}", "check -o") from error


def _replace(partial: Path, out: Path) -> None:
    """Swap the folders; whatever stops it between the two renames, the earlier one comes back."""
    earlier = out.with_name(f"{out.name}.replaced")
    if earlier.is_dir() and not earlier.is_symlink() and _only_ours(earlier):
        shutil.rmtree(earlier)  # a run was killed after its second rename
    out.rename(earlier)
    try:
        partial.rename(out)
    except BaseException:
        earlier.rename(out)
        raise
    shutil.rmtree(earlier)


def _replaceable(out: Path) -> bool:
    """A GGUF, or a folder of edgepack's in which nobody keeps anything else."""
    return _only_ours(out) if out.is_dir() else formats.is_artifact(out)


def _only_ours(folder: Path, listed: Set[str] = frozenset()) -> bool:
    """Whether every entry is an artifact that edgepack wrote, or has a name that it gives.

    A checkpoint has the file names of an artifact: what edgepack wrote says so in its header.
    `listed` are names, relative to `folder`, that a journal vouches for.
    """
    entries = list(folder.iterdir())
    if not entries:
        return True
    known = own_names().union(listed, *(form.ours(folder) for form in formats.every()))
    return all(_is_ours(entry, known) for entry in entries)


def own_names() -> frozenset[str]:
    """What a package has beside its artifacts, and a write on its way."""
    from edgepack.manifest.folder import MANIFEST, REPORT

    hidden = (f".{MANIFEST}.partial", f".{REPORT}.partial", journal.NAME)
    return frozenset((MANIFEST, REPORT, "model.sig", *hidden))


def _is_ours(entry: Path, known: frozenset[str]) -> bool:
    """Whether `entry` has one of the names `known`, which may be paths into folders."""
    if entry.name in known or not entry.is_dir() or entry.is_symlink():
        return entry.name in known
    if entry.name in formats.known():
        return _only_ours(entry, _below(entry.name, known))
    names = [path.relative_to(entry.parent).as_posix() for path in entry.rglob("*")]
    return bool(names) and known.issuperset(names)


def _below(name: str, listed: Set[str]) -> frozenset[str]:
    """The listed names within the folder `name`, relative to it."""
    return frozenset(path.partition("/")[2] for path in listed if path.startswith(f"{name}/"))


def _partial(out: Path) -> Path:
    return out.with_name(f"{out.name}.partial")
