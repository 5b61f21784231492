"""onnxruntime, on the CPU, for models known by their task: an encoder, or encoder and decoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from edgepack.errors import DamagedInput, missing_extra
from edgepack.fidelity.runtimes.onnx import session
from edgepack.fidelity.runtimes.threads import usable_cores

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Feed = dict[str, NDArray[Any]]
Floats = NDArray[np.float32]


class OnnxOutputs:
    """The graphs of one artifact, loaded, the entry first."""

    name = "onnxruntime"

    def __init__(self, graphs: Sequence[Path], *, threads: int | None = None) -> None:
        """Raises Missing (onnxruntime), DamagedInput (a graph)."""
        try:
            import onnxruntime
        except ImportError as error:
            raise missing_extra("onnxruntime", "onnx") from error
        self.version = f"onnxruntime {onnxruntime.__version__}"
        self._graphs = tuple(graphs)
        self._sessions = [session(path, threads or usable_cores()) for path in graphs]

    def outputs(self, feed: Feed, names: Sequence[str]) -> tuple[Floats, ...]:
        """The outputs `names` of the entry."""
        return self._run(0, feed, names)

    def answer_logits(self, feed: Feed, ids: Sequence[int]) -> Floats:
        """The decoder's logits [len(ids), vocabulary] for the text of `feed`, given its answer."""
        (states,) = self._run(0, feed, ("last_hidden_state",))
        decoder: Feed = {
            "input_ids": np.array([ids], np.int64),
            "encoder_hidden_states": states,
            "encoder_attention_mask": feed["attention_mask"],
        }
        (logits,) = self._run(1, decoder, ("logits",))
        rows: Floats = logits[0]
        return rows

    def close(self) -> None:
        self._sessions.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self, graph: int, feed: Feed, names: Sequence[str]) -> tuple[Floats, ...]:
        """Raises DamagedInput for a graph that is of another task, or does not run."""
        path = self._graphs[min(graph, len(self._graphs) - 1)]
        try:
            chosen: InferenceSession = self._sessions[graph]
            wanted = {value.name for value in chosen.get_inputs()}
            given = {name: value for name, value in feed.items() if name in wanted}
            found = chosen.run(list(names), given)
        except Exception as error:  # onnxruntime's exceptions have no common base
            raise DamagedInput(
                f"{path}: onnxruntime cannot run it for this task: {error}", "write it again"
            ) from error
        return tuple(found)
