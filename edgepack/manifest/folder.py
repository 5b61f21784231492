"""edgepack.toml and fidelity.json in a package's folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

from edgepack.errors import DamagedInput, Missing, OutputError
from edgepack.fidelity import FidelityReport
from edgepack.formats import FileRecord
from edgepack.manifest.codec import Codec
from edgepack.manifest.manifest import Manifest, Measured
from edgepack.manifest.toml import RULES, dumps, loads
from edgepack.models.digest import sha256_of
from edgepack.units import MIB, format_bytes

MANIFEST: Final = "edgepack.toml"
REPORT: Final = "fidelity.json"
_LARGEST: Final = 16 * MIB  # of a text that is read whole; real ones have a few KiB


def write(manifest: Manifest, folder: Path) -> None:
    """Write edgepack.toml, whole or not at all. Raises OutputError.

    The text is read again first: what `read` would refuse is never written (DamagedInput).
    """
    path = folder / MANIFEST
    text = dumps(manifest)
    loads(text, str(path))
    _write_whole(path, text)


def read(folder: Path) -> Manifest:
    """The manifest of a package.

    Raises Missing without the folder, DamagedInput without a sound edgepack.toml in it.
    """
    if not folder.is_dir():
        raise Missing(f"{folder}: no such folder", "name the folder of a package")
    path = folder / MANIFEST
    if path.is_symlink() or not path.is_file():
        raise DamagedInput(
            f"{folder}: not a finished package: there is no {MANIFEST} in it",
            "edgepack pack writes it last; run it again",
        )
    return loads(_read_text(path), str(path))


def write_report(report: FidelityReport, package: Path, place: Path) -> FileRecord:
    """Write the whole report as fidelity.json in `place`, and describe it as read back.

    The path in the record is relative to `package`. Raises OutputError.
    """
    path = place / REPORT
    _write_whole(path, json.dumps(report.to_dict(), indent=1, allow_nan=False) + "\n")
    name = path.relative_to(package).as_posix()
    return FileRecord(name, path.stat().st_size, sha256_of(path))


def read_measured(path: Path) -> Measured:
    """What a report file says of the figures that the manifest repeats. Raises DamagedInput."""
    try:
        values = json.loads(_read_text(path))
    except (ValueError, RecursionError) as error:
        raise DamagedInput(f"{path}: not JSON: {error}", "restore the file") from error
    return measured(values, str(path))


def measured(values: object, file: str) -> Measured:
    """The manifest's share of `FidelityReport.to_dict()`. Raises DamagedInput."""
    return Codec(file, RULES, strict=False).record(Measured, values)


def _read_text(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > _LARGEST:
            raise DamagedInput(
                f"{path}: {format_bytes(size)}, at most {format_bytes(_LARGEST)} are read",
                "restore the file",
            )
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DamagedInput(f"{path}: not UTF-8: {error}", "restore the file") from error
    except OSError as error:
        raise DamagedInput(f"{path}: cannot be read: {error.strerror}", "check it") from error


def _write_whole(path: Path, text: str) -> None:
    """One rename makes the file appear, after its bytes have reached the disk."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutputError(f"{path}: cannot be written: {error.strerror}", "check -o") from error
