"""Checkpoints to encode, in the shapes that formats find hard."""

from __future__ import annotations

import pytest

from edgepack.models import open_checkpoint


@pytest.fixture
def checkpoint(builder, tmp_path):
    """A tiny checkpoint, opened: `checkpoint(family, **changes)`."""

    def make(family="qwen2", **changes):
        return open_checkpoint(str(builder.write(tmp_path / "source" / "tiny", family, **changes)))

    return make


@pytest.fixture
def package(tmp_path):
    """An empty folder to write into."""
    folder = tmp_path / "package"
    folder.mkdir()
    return folder
