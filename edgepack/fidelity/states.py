"""The reference's final hidden states, kept between runs in the user's cache folder.

They are what a reference costs: with them, a second artifact is measured after reading the head
alone. They are kept as the float32 they are, 4 x width bytes a token (32,000 tokens at width 4,096:
524 MB), since anything shorter would be a distance of its own. An entry is found by the digest of
all that decided it, carries one of its content, and is written whole or not at all, so that several
processes may share the folder. What cannot be read is made again, what cannot be written is not
kept; neither is an error.

    EDGEPACK_CACHE        the folder; else edgepack in XDG_CACHE_HOME, else in ~/.cache
    EDGEPACK_CACHE_SIZE   the most that entries may take together, 8G unless said; 0 keeps none

Entry: 32 bytes of sha256 of what follows, then the states, little-endian float32.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final

import numpy as np

from edgepack import __version__
from edgepack.fidelity import head, reference, rounding
from edgepack.fidelity.reference import Lane, Progress, States, check_lanes
from edgepack.fidelity.rounding import Array
from edgepack.formats import slabs
from edgepack.models import Checkpoint, rope, safetensors
from edgepack.models.source import check_unchanged
from edgepack.units import GIB, parse_bytes

DEFAULT_LIMIT: Final = 8 * GIB
MAKERS: Final = (reference, rounding, head, slabs, rope, safetensors)
"""The modules whose code is in the states: how weights are read and multiplied."""
_DIGEST_BYTES: Final = 32
_SUFFIX: Final = ".states"


def states_of(
    checkpoint: Checkpoint,
    lanes: Sequence[Lane],
    progress: Progress = lambda done, total: None,
    store: Store | None = None,
) -> tuple[States, ...]:
    """Every lane's states: those that `store` has as they were, the others in one pass.

    Raises as `reference.check_lanes` does, DamagedInput for a checkpoint that changes meanwhile.
    """
    check_lanes(checkpoint, lanes)
    keys = [lane_key(checkpoint, lane) for lane in lanes]
    found: dict[int, Array] = {}
    for i, lane in enumerate(lanes):
        kept = store.load(keys[i], _shape(checkpoint, lane)) if store else None
        if kept is not None:
            found[i] = kept
    missing = [i for i in range(len(lanes)) if i not in found]
    if missing:
        made = reference.run(checkpoint, [lanes[i] for i in missing], progress)
        check_unchanged(checkpoint.stamps)
        found |= zip(missing, made, strict=True)
    for i in missing:
        if store:
            store.save(keys[i], found[i])
    output = reference.head(checkpoint)
    return tuple(States(lane, found[i], output) for i, lane in enumerate(lanes))


def lane_key(checkpoint: Checkpoint, lane: Lane) -> str:
    """A digest of all that a lane's states depend on.

    Of the weights it takes the header and each shard's identity, size and times, as they were when
    the checkpoint was opened: reading gigabytes to save reading them would be no saving.
    """
    digest = hashlib.sha256()
    for part in (__version__, np.__version__, repr(checkpoint.decoder), lane.name, lane.arithmetic):
        digest.update(f"{len(part)}:{part}".encode())
    # A changed arithmetic is another version, whether or not it is called one.
    for module in MAKERS:
        assert module.__file__ is not None
        digest.update(Path(module.__file__).read_bytes())
    for ref in sorted(checkpoint.tensors.values(), key=lambda ref: ref.name):
        digest.update(repr((ref.name, ref.dtype, ref.shape, ref.offset, ref.file.name)).encode())
    for path, stamp in sorted(checkpoint.stamps.items()):
        digest.update(repr((path.name, stamp)).encode())
    for ids in lane.documents:
        digest.update(np.asarray([len(ids), *ids], "<i8").tobytes())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Store:
    """Entries in `folder`, at most `limit` bytes of them, those used last."""

    folder: Path
    limit: int = DEFAULT_LIMIT

    def load(self, key: str, shape: tuple[int, int]) -> Array | None:
        """The states kept under `key`; None where there are none, or not these."""
        path = self._path(key)
        try:
            with path.open("rb") as file:
                digest = file.read(_DIGEST_BYTES)
                content = np.fromfile(file, "<f4")
            if content.size != prod(shape) or _digest(content) != digest:
                return None
            os.utime(path)  # used last
        except OSError:
            return None
        return content.astype(np.float32, copy=False).reshape(shape)

    def save(self, key: str, states: Array) -> None:
        """Keep `states` under `key`, and let go of the oldest entries beyond the limit."""
        size = _DIGEST_BYTES + states.nbytes
        if size > self.limit:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._make_room(size)
            self._write(self._path(key), np.ascontiguousarray(states, "<f4"))
        except OSError:  # no room, or not ours to write in
            return

    def _write(self, path: Path, content: Array) -> None:
        handle, name = tempfile.mkstemp(dir=self.folder, prefix=".", suffix=".partial")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_digest(content))
                content.tofile(file)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _make_room(self, size: int) -> None:
        """Entries of other processes may come and go meanwhile: those are left out."""
        entries = []
        for path in (*self.folder.glob(f"*{_SUFFIX}"), *self.folder.glob(".*.partial")):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            entries.append((status.st_mtime_ns, status.st_size, path))
        held = sum(entry[1] for entry in entries)
        for _, freed, path in sorted(entries):
            if held + size <= self.limit:
                return
            path.unlink(missing_ok=True)
            held -= freed

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{_SUFFIX}"


def user_store() -> Store | None:
    """The store of this user, or None where they want none, or have no home.

    Raises UsageError for an EDGEPACK_CACHE_SIZE that is no size.
    """
    limit = parse_bytes(os.environ.get("EDGEPACK_CACHE_SIZE") or str(DEFAULT_LIMIT))
    named = os.environ.get("EDGEPACK_CACHE")
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        home = None
    if not limit or not (named or home):
        return None
    root = Path(named) if named else Path(str(home), "edgepack")
    return Store(root / "states", limit)


def _shape(checkpoint: Checkpoint, lane: Lane) -> tuple[int, int]:
    return sum(map(len, lane.documents)), checkpoint.decoder.width


def _digest(content: Array) -> bytes:
    return hashlib.sha256(content.reshape(-1).data).digest()
