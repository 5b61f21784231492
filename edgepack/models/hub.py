"""Hugging Face hub ids: `org/name[@revision]` -> a local folder. safetensors only, never pickle."""

from __future__ import annotations

import re
from pathlib import Path

from edgepack.errors import EdgepackError, Missing, UsageError

HUB_ID = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w./-]+))?", re.ASCII)

SHAPE_FILES = ["config.json"]
CHECKPOINT_FILES = [
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "tokenizer.model",
    "chat_template*",
    "additional_chat_templates/*",
    "README.md",
    "LICENSE*",
]


def split_id(text: str) -> tuple[str, str | None] | None:
    """`org/name@rev` -> (`org/name`, `rev`); None where `text` is not a hub id."""
    match = HUB_ID.fullmatch(text)
    return (match[1], match[2]) if match else None


def download(repository: str, revision: str | None, *, weights: bool) -> tuple[Path, str]:
    """The repository's snapshot folder and its commit.

    `weights=False` fetches config.json alone. HF_HOME, HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE
    are honoured by huggingface_hub. Raises Missing when offline, absent or gated, UsageError for
    a repository that holds no safetensors.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    patterns = CHECKPOINT_FILES if weights else SHAPE_FILES
    try:
        folder = Path(snapshot_download(repository, revision=revision, allow_patterns=patterns))
    except GatedRepoError as error:
        raise Missing(f"{repository} is gated", "accept its licence and set HF_TOKEN") from error
    except RepositoryNotFoundError as error:
        raise Missing(
            f"{repository}: no such repository", "check the name; set HF_TOKEN if it is private"
        ) from error
    except RevisionNotFoundError as error:
        raise Missing(
            f"{repository} has no revision {revision!r}", "check it on the hub"
        ) from error
    except HFValidationError as error:
        raise UsageError(f"{repository}: not a name on the hub", _first_line(error)) from error
    except Exception as error:  # offline, refused, cut off: the client and its transport have many
        raise Missing(
            f"{repository} could not be fetched: {_first_line(error)}",
            "check the network or HF_HUB_OFFLINE, or give a local folder",
        ) from error
    if weights and not any(folder.glob("*.safetensors")):
        raise UsageError(
            f"{repository} holds no safetensors weights", "pickle weights are never loaded"
        )
    return folder, folder.name


def _first_line(error: Exception) -> str:
    if isinstance(error, EdgepackError):
        return error.message
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
