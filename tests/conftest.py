"""Tiny checkpoints for every room: the builder that also makes fixtures/golden/tiny-*."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import settings

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
def golden() -> Path:
    """fixtures/golden/: tiny-FAMILY/ with logits.npz."""
    return ROOT / "fixtures" / "golden"
