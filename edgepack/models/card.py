"""What a model card says of itself: licence and base models, from README.md's front matter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepack.errors import DamagedInput


@dataclass(frozen=True, slots=True)
class Card:
    """`licence` is the card's identifier (SPDX-like) or None; `base_models` are hub ids."""

    licence: str | None = None
    base_models: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()


def read_card(root: Path) -> Card:
    """The card of a checkpoint folder; an empty one where there is no README.md or front matter.

    Raises DamagedInput for front matter that is not YAML.
    """
    path = root / "README.md"
    if not path.is_file():
        return Card()
    from huggingface_hub import metadata_load

    try:
        values = metadata_load(path) or {}
    except Exception as error:  # YAML and value errors of several libraries
        raise DamagedInput(
            f"{path}: front matter is not readable: {str(error).splitlines()[0]}",
            "mend or remove it",
        ) from error
    licence = values.get("license")
    return Card(
        licence if isinstance(licence, str) else None,
        _texts(values.get("base_model")),
        _texts(values.get("language")),
    )


def _texts(value: Any) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    return tuple(item for item in values if isinstance(item, str))
