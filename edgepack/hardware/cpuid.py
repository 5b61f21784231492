"""CPU flags by py-cpuinfo, which takes over a second, kept on disk until the processor changes."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path


def cached_flags(identity: str, cache: Path | None = None) -> tuple[str, ...]:
    """The flags of the processor called `identity`, asked once and then read from `cache`.

    A cache that is unreadable, or another processor's, is asked anew; one that cannot be written
    costs only time.
    """
    cache = cache or _cache_file()
    try:
        kept = json.loads(cache.read_text("utf-8"))
        if kept["identity"] == identity:
            return tuple(str(flag) for flag in kept["flags"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    flags = _ask()
    if flags:
        _keep(cache, identity, flags)
    return flags


def _ask() -> tuple[str, ...]:
    try:
        from cpuinfo import get_cpu_info
    except ImportError:
        return ()
    return tuple(str(flag) for flag in get_cpu_info().get("flags", ()))


def _keep(cache: Path, identity: str, flags: tuple[str, ...]) -> None:
    partial = cache.with_suffix(f".{os.getpid()}")
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps({"identity": identity, "flags": flags}), "utf-8")
        partial.replace(cache)
    except OSError:
        with suppress(OSError):
            partial.unlink()


def _cache_file() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return Path(base or Path.home() / ".cache") / "edgepack" / "cpu.json"
