"""mlx-lm: the runtime of MLX artifacts, on Apple's GPUs and on the CPUs of Linux."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepack.errors import DamagedInput, missing_extra
from edgepack.fidelity.runtimes import Runtime, SpecialIds, check_ids
from edgepack.formats.mlx.layout import CONFIG
from edgepack.formats.mlx.reader import read_head


class MlxLm(Runtime):
    """An MLX folder in mlx-lm.

    Scales, biases and norms are widened to float32, which is exact, so that everything is
    calculated in float32: the verdict is about the weights. On fixtures/reasoner 8 bits then have
    a mean KLD of 8e-6; in bfloat16 it is 1.1e-3, since mlx's CPU kernels sum in that type.
    Nothing is fetched, and no code that comes with a model is run.
    """

    name = "mlx-lm"

    def __init__(self, path: Path) -> None:
        """Load the folder of the config.json at `path`. Raises Missing, DamagedInput."""
        self._path = path / CONFIG if path.is_dir() else path
        try:
            import mlx.core as mx
            from mlx_lm import tokenizer_utils, utils
        except ImportError as error:
            raise missing_extra("mlx-lm", "mlx") from error
        read_head(self._path)  # mlx trusts the headers it reads
        self.version = f"{metadata.version('mlx-lm')} (mlx {metadata.version('mlx')})"
        folder = self._path.parent
        try:
            self._model, _ = utils.load_model(folder, trust_remote_code=False)
            self._model.set_dtype(mx.float32)
            mx.eval(self._model.parameters())
            self._tokenizer: Any = tokenizer_utils.load(
                folder,
                {"trust_remote_code": False, "local_files_only": True},
                eos_token_ids=utils.load_config(folder).get("eos_token_id"),  # as mlx_lm.load does
            )
            self.special_ids: SpecialIds | None = SpecialIds(
                self._tokenizer.bos_token_id,
                self._tokenizer.eos_token_id,
                add_bos=None,
                stops=frozenset(self._tokenizer.eos_token_ids),
                pad=self._tokenizer.pad_token_id,
            )
            self.vocabulary: int = self._model.args.vocab_size
        except Exception as error:  # ValueError, KeyError, RuntimeError, OSError, ...
            raise self._cannot("load it", error) from error

    def logits(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Raw logits [len(ids), vocabulary] of one fresh sequence; row i predicts ids[i + 1].

        Raises UsageError for an empty sequence or an id outside the vocabulary.
        """
        import mlx.core as mx

        self._check(ids)
        try:
            rows = self._model(mx.array([list(ids)]))[0].astype(mx.float32)
            return np.array(rows)
        except RuntimeError as error:
            raise self._cannot("run it", error) from error

    def generate(self, ids: Sequence[int], limit: int, stop_ids: Collection[int]) -> list[int]:
        """At most `limit` greedy tokens after `ids`; a stop token, when reached, is the last."""
        import mlx.core as mx
        from mlx_lm.generate import generate_step

        self._check(ids)
        made: list[int] = []
        if limit == 0:
            return made
        try:
            for token, _ in generate_step(mx.array(list(ids)), self._model, max_tokens=limit):
                made.append(int(token))
                if made[-1] in stop_ids:
                    break
        except RuntimeError as error:
            raise self._cannot("run it", error) from error
        return made

    def tokenize(self, text: str) -> list[int]:
        """Ids of `text` by the artifact's own tokenizer: control tokens parsed, none added."""
        self._check_open()
        return [int(i) for i in self._tokenizer.encode(text, add_special_tokens=False)]

    def detokenize(self, ids: Sequence[int]) -> str:
        """Text of `ids`, control tokens spelled out."""
        self._check_open()
        return str(self._tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))

    def close(self) -> None:
        self._model = self._tokenizer = None

    def _check(self, ids: Sequence[int]) -> None:
        self._check_open()
        check_ids(ids, self.vocabulary, self._path.parent)

    def _check_open(self) -> None:
        if self._model is None:
            raise ValueError(f"{self._path.parent} was closed")

    def _cannot(self, what: str, error: Exception) -> DamagedInput:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        return DamagedInput(
            f"{self._path}: mlx-lm cannot {what}: {reason[0]}", "write or fetch it again"
        )
