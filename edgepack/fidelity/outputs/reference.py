"""The checkpoint itself in transformers and torch, float32: what exported artifacts answer to."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from edgepack.errors import DamagedInput, Unsupported
from edgepack.fidelity.outputs.rows import OUTPUTS, Floats
from edgepack.fidelity.outputs.texts import Feed
from edgepack.models import TaskModel
from edgepack.models.transformer import load

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ANSWER_TOKENS: Final = 64  # of the reference's own; 64 documents then make 4,096


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """The reference's greedy answer, the start token first, and its logits [len(ids), vocabulary]:
    row i predicts ids[i + 1]."""

    ids: tuple[int, ...]
    logits: Floats


class TransformerReference:
    """One text at a time, without gradients."""

    def __init__(self, model: TaskModel) -> None:
        """Load the weights. Raises as models.transformer.load does."""
        self._model = model
        with _quietly():
            self._network: PreTrainedModel = load(model.root, model.outline)
        self._accepted = set(signature(self._network.forward).parameters)

    def outputs(self, feed: Feed) -> tuple[Floats, ...]:
        """Every output of the task for one text. Raises DamagedInput where they are not finite."""
        found = self._run(feed)
        named = OUTPUTS[self._model.outline.task]
        return tuple(self._finite(getattr(found, name)) for name in named)

    def answer(self, feed: Feed) -> Answer:
        """At most ANSWER_TOKENS greedy tokens after the text, and the logits that chose them."""
        import torch
        from transformers import GenerationConfig

        own = self._network.generation_config
        greedy = GenerationConfig(
            max_new_tokens=ANSWER_TOKENS,
            decoder_start_token_id=own.decoder_start_token_id,
            eos_token_id=own.eos_token_id,
            pad_token_id=own.pad_token_id,
        )
        given = self._tensors(feed)
        with torch.inference_mode(), _quietly(), self._refusals():
            found = self._network.generate(**given, generation_config=greedy)
        ids = found.numpy().astype(np.int64)
        logits = self._finite(self._run({**feed, "decoder_input_ids": ids}).logits)
        return Answer(tuple(int(i) for i in ids[0]), logits[0])

    def _run(self, feed: Feed) -> Any:
        import torch

        with torch.inference_mode(), _quietly(), self._refusals():
            return self._network(**self._tensors(feed))

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """What torch will not compute, as Unsupported."""
        try:
            yield
        except (IndexError, RuntimeError, ValueError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise Unsupported(
                f"{self._model.root}: transformers cannot run it: {reason}",
                "a model_max_length in tokenizer_config.json limits the tokens of a text",
            ) from error

    def _tensors(self, feed: Feed) -> dict[str, Any]:
        """What the model's forward pass takes of `feed`."""
        import torch

        return {k: torch.from_numpy(v) for k, v in feed.items() if k in self._accepted}

    def _finite(self, tensor: Any) -> NDArray[np.float32]:
        found: NDArray[np.float32] = tensor.numpy()
        if not np.isfinite(found).all():
            hint = "the checkpoint itself is damaged: look for NaN in its tensors"
            raise DamagedInput(f"{self._model.root}: outputs are not finite", hint)
        return found


@contextmanager
def _quietly() -> Iterator[None]:
    """torch and transformers warn of what nobody here can change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
