"""onnxruntime, on the CPU: the runtime of ONNX artifacts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from edgepack.errors import DamagedInput, missing_extra
from edgepack.fidelity.runtimes import Runtime, SpecialIds, check_ids
from edgepack.fidelity.runtimes.threads import usable_cores

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_FATAL: Final = 4  # severities of onnxruntime's log, of which nothing may be printed
_TYPES: Final = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
Feed = dict[str, NDArray[Any]]


class OnnxRuntime(Runtime):
    """A decoder in onnxruntime, its graph as onnxruntime-genai takes it.

    Inputs input_ids, attention_mask and past_key_values.*; outputs logits and present.*. The KV
    cache is of the model's own float type.
    """

    name = "onnxruntime"
    special_ids: SpecialIds | None = None  # a session has none; they stand in genai_config.json

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        """Load the model at `path`. Raises Missing (onnxruntime), DamagedInput (the model)."""
        try:
            import onnxruntime
        except ImportError as error:
            raise missing_extra("onnxruntime", "onnx") from error
        self.version = onnxruntime.__version__ + _genai_version()
        self._path = path
        self._session: InferenceSession | None = session(path, threads or usable_cores())
        shapes = {value.name: value.shape for value in self._session.get_outputs()}
        try:
            self.vocabulary = int(shapes["logits"][2])
            self._empty = self._past()
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise DamagedInput(
                f"{path}: not a decoder with logits and a KV cache: {error}",
                "its inputs and outputs must be those of onnxruntime-genai's models",
            ) from error
        self._text = _text(path.parent)
        self.special_ids: SpecialIds | None = self._text.special_ids

    def logits(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Raw logits [len(ids), vocabulary] of one fresh sequence; row i predicts ids[i + 1].

        Raises UsageError for an empty sequence or an id outside the vocabulary.
        """
        check_ids(ids, self.vocabulary, self._path)
        (rows,) = self._run(ids, len(ids), self._empty, ["logits"])
        found: NDArray[np.float32] = rows[0].astype(np.float32)
        return found

    def generate(self, ids: Sequence[int], limit: int, stop_ids: Collection[int]) -> list[int]:
        """At most `limit` greedy tokens after `ids`; a stop token, when reached, is the last."""
        check_ids(ids, self.vocabulary, self._path)
        names = [name.replace("past_key_values", "present") for name in self._empty]
        made: list[int] = []
        given, past = list(ids), self._empty
        while len(made) < limit:
            length = len(ids) + len(made)
            rows, *present = self._run(given, length, past, ["logits", *names])
            made.append(int(rows[0, -1].argmax()))
            if made[-1] in stop_ids:
                break
            given, past = made[-1:], dict(zip(self._empty, present, strict=True))
        return made

    def tokenize(self, text: str) -> list[int]:
        """Ids of `text` by the artifact's own tokenizer: control tokens parsed, none added."""
        self._open()
        return self._text.encode(text)

    def close(self) -> None:
        self._session = None

    def _past(self) -> Feed:
        """An empty KV cache, [1, kv heads, 0, head size] each."""
        return {
            value.name: np.zeros(
                (1, int(value.shape[1]), 0, int(value.shape[3])), _TYPES[value.type]
            )
            for value in self._open().get_inputs()
            if value.name.startswith("past_key_values.")
        }

    def _run(
        self, ids: Sequence[int], length: int, past: Feed, names: list[str]
    ) -> list[NDArray[Any]]:
        """The outputs `names` for `ids`, the last of `length` tokens, after `past`."""
        feed = {
            "input_ids": np.asarray([ids], np.int64),
            "attention_mask": np.ones((1, length), np.int64),
            "position_ids": np.arange(length - len(ids), length, dtype=np.int64)[None],
            **past,
        }
        session = self._open()
        wanted = {value.name for value in session.get_inputs()}
        try:
            outputs: list[NDArray[Any]] = session.run(
                names, {name: value for name, value in feed.items() if name in wanted}
            )
        except Exception as error:  # onnxruntime's exceptions have no common base
            raise DamagedInput(
                f"{self._path}: onnxruntime cannot run it: {error}", "write or fetch it again"
            ) from error
        return outputs

    def _open(self) -> InferenceSession:
        if self._session is None:
            raise ValueError(f"{self._path} was closed")
        return self._session


def _genai_version() -> str:
    """Its tokenizer is what is compared, where it is installed."""
    try:
        return f" (onnxruntime-genai {metadata.version('onnxruntime-genai')})"
    except metadata.PackageNotFoundError:
        return ""


def session(path: Path, threads: int) -> InferenceSession:
    """The model, loaded; nothing is printed. Raises DamagedInput."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no common base
        raise DamagedInput(
            f"{path}: onnxruntime cannot load it: {error}", "write or fetch it again"
        ) from error


@dataclass(frozen=True, slots=True)
class _Text:
    """How text becomes ids, and the ids that begin and end it, where that is known."""

    encode: Callable[[str], list[int]]
    special_ids: SpecialIds | None


def _text(folder: Path) -> _Text:
    """As onnxruntime-genai does it; without that package, or its config, as tokenizer.json says.

    Raises DamagedInput.
    """
    try:
        import onnxruntime_genai
    except ImportError:
        return _plain_text(folder)
    if not (folder / "genai_config.json").is_file():
        return _plain_text(folder)
    try:
        tokenizer = onnxruntime_genai.Tokenizer(str(folder))
    except Exception as error:  # a bare RuntimeError, or what pybind11 makes of others
        raise DamagedInput(
            f"{folder}: onnxruntime-genai cannot load its tokenizer: {error}",
            "write or fetch it again",
        ) from error
    # it stops at any of its stop tokens; the first is the one the checkpoint calls EOS
    stops = [int(token) for token in tokenizer.eos_token_ids]
    return _Text(
        lambda text: [int(token) for token in tokenizer.encode(text)],
        SpecialIds(
            int(tokenizer.bos_token_id), stops[0] if stops else None, None, frozenset(stops)
        ),
    )


def _plain_text(folder: Path) -> _Text:
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise DamagedInput(f"{path}: {error}", "write or fetch the artifact again") from error
    return _Text(lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids), None)
