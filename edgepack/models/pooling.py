"""How a checkpoint makes one vector of a text: what sentence-transformers writes beside a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

from edgepack.errors import Unsupported
from edgepack.models.config import read_json, read_objects

Mode = Literal["mean", "cls", "max"]

MODULES: Final = "modules.json"  # the model and the layers that follow, with the folder of each
KNOWN: Final = ("Transformer", "Pooling", "Normalize")  # the last changes no cosine
MODES: Final[Mapping[str, Mode]] = MappingProxyType(
    {
        "pooling_mode_mean_tokens": "mean",
        "pooling_mode_cls_token": "cls",
        "pooling_mode_max_tokens": "max",
    }
)


def read(root: Path) -> Mode | None:
    """The one way in which hidden states are pooled; None where nothing, or another way, is said.

    Raises DamagedInput, Unsupported for a layer that would be lost in an artifact.
    """
    for module in _modules(root):
        if _kind(module) not in KNOWN:
            raise Unsupported(
                f"{root / MODULES}: a {_kind(module)} layer makes the embeddings",
                f"edgepack packs sentence encoders of {', '.join(KNOWN)} alone",
            )
    path = file(root)
    if path is None:
        return None
    values = read_json(path)
    chosen = [key for key, value in values.items() if key.startswith("pooling_mode_") and value]
    return MODES.get(chosen[0]) if len(chosen) == 1 else None


def file(root: Path) -> Path | None:
    """The config.json of the pooling layer that modules.json names, in a folder of `root`."""
    for module in _modules(root):
        folder = module.get("path")
        if _kind(module) == "Pooling" and _is_plain(folder):
            found = root / str(folder) / "config.json"
            return found if found.is_file() else None
    return None


def _modules(root: Path) -> list[dict[str, Any]]:
    path = root / MODULES
    return read_objects(path) if path.is_file() else []


def _kind(module: Mapping[str, Any]) -> str:
    """The name of its class, without that of the package it is in."""
    return str(module.get("type")).rpartition(".")[2]


def _is_plain(folder: object) -> bool:
    """Whether it is the name of a folder beside modules.json, and no way out of it."""
    return isinstance(folder, str) and folder not in ("", "..") and Path(folder).name == folder
