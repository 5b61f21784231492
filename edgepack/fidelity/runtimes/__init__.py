"""What an artifact runs in: one Protocol, one file per runtime.

A runtime gives the raw logits of the artifact as it will really run, so that they can be compared
with the full-precision reference on the same token ids.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from edgepack.errors import Missing, Unsupported, UsageError, missing_extra

MLX_ENTRY = "config.json"


@dataclass(frozen=True, slots=True)
class SpecialIds:
    """What a runtime starts a text with and stops at.

    `add_bos` and `add_eos` if it does so unasked; None where that is its caller's affair. `stops`
    are all the tokens that end a turn, None where they are not known; with `finds_stops` the
    runtime looks for them by their text, and may have found more than anybody stated.
    """

    bos: int | None
    eos: int | None
    add_bos: bool | None
    stops: frozenset[int] | None = None
    finds_stops: bool = False
    add_eos: bool | None = None
    pad: int | None = None


class Runtime(Protocol):
    """An artifact, loaded. Every call starts from an empty sequence; nothing is remembered.

    `special_ids` is None where a runtime has no say in them: its caller has.
    """

    name: str
    version: str
    vocabulary: int
    special_ids: SpecialIds | None

    def logits(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Raw logits [len(ids), vocabulary]: row i predicts ids[i + 1]."""
        ...

    def generate(self, ids: Sequence[int], limit: int, stop_ids: Collection[int]) -> list[int]:
        """At most `limit` greedy tokens after `ids`; a stop token, when reached, is the last."""
        ...

    def tokenize(self, text: str) -> list[int]:
        """Ids by the artifact's own tokenizer: control tokens parsed, none added."""
        ...

    def close(self) -> None:
        """Give the memory back; further calls are errors, closing again is not."""
        ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def check_ids(ids: Sequence[int], vocabulary: int, artifact: Path) -> None:
    """Raises UsageError for an empty sequence and for ids outside the vocabulary.

    Runtimes do not: mlx reads beyond the embedding without a word, llama.cpp ends the process.
    """
    if not ids:
        raise UsageError("an empty sequence has no logits", "give at least one token id")
    outside = next((i for i in ids if not 0 <= i < vocabulary), None)
    if outside is not None:
        message = f"token id {outside} is outside the vocabulary of {vocabulary}"
        raise UsageError(message, f"tokenize with the tokenizer of {artifact}")


_OPTIONAL: Final = {"mlx": ("mlx_lm", "mlx-lm"), "onnx": ("onnxruntime", "onnxruntime")}
"""Per format, what must be importable, and what it is called where it is installed from."""


def require(form: str) -> None:
    """Raises Missing where the runtime of the format called `form` is not installed.

    To be asked before hours of encoding, not after.
    """
    module, package = _OPTIONAL.get(form, ("", ""))
    if module and find_spec(module) is None:
        raise missing_extra(package, form)


def open(path: Path, *, threads: int | None = None) -> Runtime:  # noqa: A001
    """The runtime that runs the artifact at `path`, with the artifact loaded.

    Raises Missing when the file or the runtime is not here, DamagedInput when the runtime cannot
    read the file, Unsupported for a kind of artifact that no runtime here takes.
    """
    if not path.exists():
        raise Missing(f"{path} does not exist", "name an artifact that quantize wrote")
    if path.suffix == ".gguf":
        from edgepack.fidelity.runtimes.llamacpp import LlamaCpp

        return LlamaCpp(path, threads=threads)
    if path.suffix == ".onnx":
        from edgepack.fidelity.runtimes.onnx import OnnxRuntime

        return OnnxRuntime(path, threads=threads)
    if path.name == MLX_ENTRY or (path / MLX_ENTRY).is_file():
        from edgepack.fidelity.runtimes.mlx import MlxLm

        return MlxLm(path)
    raise Unsupported(
        f"{path} is not an artifact that can be run here",
        "known: a .gguf or .onnx file, an MLX folder",
    )
