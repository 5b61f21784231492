"""Hugging Face hub ids: `org/name[@revision]` -> a local folder. safetensors only, never pickle."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from edgepack.errors import DamagedInput, EdgepackError, Missing, UsageError
from edgepack.models.safetensors import INDEX, TensorRef, read_index, weight_files

HUB_ID = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w./-]+))?", re.ASCII)

SHAPE_FILES = ["config.json", INDEX]
SIDE_FILES = [
    INDEX,
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "tokenizer.model",
    "chat_template*",
    "additional_chat_templates/*",
    "modules.json",
    "*_Pooling/config.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "README.md",
    "LICENSE*",
]
ONE_FILE = "model.safetensors"
CONNECTIONS = 8  # at once
REACH = "check the network or HF_HUB_OFFLINE, or give a local folder"


def split_id(text: str) -> tuple[str, str | None] | None:
    """`org/name@rev` -> (`org/name`, `rev`); None where `text` is not a hub id."""
    match = HUB_ID.fullmatch(text)
    return (match[1], match[2]) if match else None


def download(repository: str, revision: str | None, *, weights: bool) -> tuple[Path, str]:
    """The repository's snapshot folder and its commit.

    `weights=False` fetches config.json and the index alone. HF_HOME, HF_ENDPOINT, HF_TOKEN and
    HF_HUB_OFFLINE are honoured by huggingface_hub. Raises Missing when offline, absent or gated,
    UsageError for a repository that holds no safetensors.
    """
    from huggingface_hub import snapshot_download

    patterns = SIDE_FILES if weights else SHAPE_FILES
    with _explained(repository, revision):
        folder = Path(snapshot_download(repository, revision=revision, allow_patterns=patterns))
        if weights:
            names = _weight_names(repository, folder)
            exactly = [glob.escape(name) for name in names]
            snapshot_download(repository, revision=folder.name, allow_patterns=exactly)
            _require(repository, folder, names)
    return folder, folder.name


def fetch_beside(repository: str, revision: str) -> None:
    """All that lies beside the weights. Raises as `download` does."""
    from huggingface_hub import snapshot_download

    with _explained(repository, revision):
        snapshot_download(repository, revision=revision, allow_patterns=SIDE_FILES)


def tensor_refs(repository: str, revision: str, folder: Path) -> dict[str, TensorRef] | None:
    """The tensors of a repository, from the first bytes of its weight files: no weight is fetched.

    `folder` is its snapshot, `revision` the commit. None where the weights are in it already, and
    where they cannot be asked: without a network, or without any that may be loaded. Raises
    DamagedInput for damaged headers.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import SafetensorsParsingError

    api = HfApi()

    def read(name: str) -> list[TensorRef]:
        found = api.parse_safetensors_file_metadata(repository, name, revision=revision)
        return [
            TensorRef(
                tensor, info.dtype, tuple(info.shape), Path(repository) / name, 0,
                info.data_offsets[1] - info.data_offsets[0],
            )
            for tensor, info in found.tensors.items()
        ]  # fmt: skip

    try:
        with _explained(repository, revision), ThreadPoolExecutor(CONNECTIONS) as pool:
            try:
                names = _weight_names(repository, folder)
                if all((folder / name).is_file() for name in names):
                    return None
                return {ref.name: ref for refs in pool.map(read, names) for ref in refs}
            except SafetensorsParsingError as error:
                raise DamagedInput(
                    f"{repository}: {_first_line(error)}", "its weights are no safetensors"
                ) from error
    except (Missing, UsageError):
        return None


def _weight_names(repository: str, folder: Path) -> list[str]:
    """The files that hold the weights: as the index names them, else as the hub lists them.

    A repository may hold the same weights again, in other layouts and precisions. Where the hub
    cannot be asked, what was fetched before is what there is.
    """
    from huggingface_hub import list_repo_files

    if (folder / INDEX).is_file():
        return sorted(set(read_index(folder / INDEX).values()))
    try:
        listed = weight_files(list_repo_files(repository, revision=folder.name))
    except Exception as error:  # as below
        fetched = weight_files(path.name for path in folder.iterdir())
        if fetched:
            return fetched
        raise Missing(
            f"{repository}: its weights were never fetched, and now {_first_line(error)}", REACH
        ) from error
    if not listed:
        raise UsageError(
            f"{repository} holds no safetensors weights", "pickle weights are never loaded"
        )
    return [ONE_FILE] if ONE_FILE in listed else listed


def _require(repository: str, folder: Path, names: list[str]) -> None:
    """Offline, a snapshot is given as it lies there, whatever is absent from it."""
    for name in names:
        if not (folder / name).is_file():
            raise Missing(f"{repository}: {name} was never fetched, and cannot be now", REACH)


@contextmanager
def _explained(repository: str, revision: str | None) -> Iterator[None]:
    """What the hub's client raises, as errors of ours."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except EdgepackError:
        raise
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
        raise Missing(f"{repository} could not be fetched: {_first_line(error)}", REACH) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
