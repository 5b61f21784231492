"""Made-up machines: a tree of kernel files and the answers of a few programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from edgepack.hardware.host import Host

MakeHost = Callable[..., Host]


@pytest.fixture
def make_host(tmp_path: Path) -> MakeHost:
    def make(
        files: Mapping[str, str] | None = None,
        programs: Mapping[str, str] | None = None,
        platform: str = "linux",
    ) -> Host:
        root = tmp_path / "root"
        root.mkdir(exist_ok=True)
        for name, text in (files or {}).items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, "utf-8")

        def run(command: Sequence[str]) -> str:
            return (programs or {}).get(command[0], "")

        return Host(platform, root, run, load=lambda: 0.0)

    return make


@pytest.fixture(autouse=True)
def no_user_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
