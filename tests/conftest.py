"""Tiny checkpoints for every room: the builder that also makes fixtures/golden/tiny-*."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import settings

from edgepack import formats

# CI draws the same examples every time; at a desk they stay random, and find new ones.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def builder() -> ModuleType:
    """fixtures/scripts/tiny_checkpoints.py: `write(folder, family, **changes)` and its parts."""
    name = "tiny_checkpoints"
    if name not in sys.modules:
        path = ROOT / "fixtures" / "scripts" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture(scope="session")
def written():
    """`written(format, checkpoint, scheme, folder)`: one artifact, as the real pass writes it."""

    def write(kind, checkpoint, scheme, folder, progress=lambda done, total: None):
        target = formats.Target(kind, scheme, folder)
        (artifact,) = formats.write(checkpoint, [target], progress)
        return artifact

    return write


@pytest.fixture(scope="session")
def planned_bytes():
    """`planned_bytes(format, checkpoint, scheme)`, before anything is written."""
    return lambda kind, checkpoint, scheme: sum(
        file.size for file in kind.plan(checkpoint, scheme).files
    )


@pytest.fixture(scope="session")
def golden() -> Path:
    """fixtures/golden/: tiny-FAMILY/ with logits.npz."""
    return ROOT / "fixtures" / "golden"


@pytest.fixture(scope="session")
def reasoner() -> Path:
    """fixtures/reasoner/: the trained model, and eval.jsonl, which it has not seen."""
    return ROOT / "fixtures" / "reasoner"
