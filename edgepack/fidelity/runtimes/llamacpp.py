"""llama.cpp, on the CPU: the runtime of GGUF artifacts."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from edgepack.errors import DamagedInput, Unsupported
from edgepack.fidelity.runtimes import Runtime, SpecialIds, check_ids, llama_library
from edgepack.fidelity.runtimes.llama_library import Batch
from edgepack.fidelity.runtimes.threads import usable_cores

CacheType = Literal["f32", "f16", "q8_0"]
_GGML_TYPES: Final[dict[CacheType, int]] = {"f32": 0, "f16": 1, "q8_0": 8}
# Tokens for one call; the context grows by whole batches, since it would cut a longer batch.
_BATCH: Final = 512
_NO_TOKEN: Final = -1  # LLAMA_TOKEN_NULL


class LlamaCpp(Runtime):
    """A GGUF file in llama.cpp.

    The K and V cache is float32 and flash attention is off, because the verdict is about the
    weights: with float32 weights that leaves a mean KLD of 2e-13 against exact arithmetic, where
    a float16 cache, or flash attention with any cache, leaves 2e-8 to 3e-8. The context grows to
    the longest sequence it is asked for.
    """

    name = "llama.cpp"

    def __init__(
        self,
        path: Path,
        *,
        threads: int | None = None,
        cache: CacheType = "f32",
        flash_attention: bool = False,
    ) -> None:
        """Load `path`. Raises Missing, Unsupported (the library), DamagedInput (the file)."""
        _check_header(path)
        self._library = llama_library.load()
        self._path = path
        self._threads = threads or usable_cores()
        self._cache, self._flash_attention = _GGML_TYPES[cache], int(flash_attention)
        self._context: int | None = None
        self._capacity = 0
        self._library.last_error()
        self._model: int | None = self._library.llama_model_load_from_file(
            os.fsencode(path), self._library.model_parameters()
        )
        if not self._model:
            reason = self._library.last_error() or "no reason given"
            raise DamagedInput(f"{path}: llama.cpp cannot load it: {reason}", "write it again")
        self._vocab: int = self._library.llama_model_get_vocab(self._model)
        self.vocabulary: int = self._library.llama_vocab_n_tokens(self._vocab)
        self.special_ids: SpecialIds | None = self._special_ids()
        self.version = f"{llama_library.WHEEL} {self._library.version}"

    def logits(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Raw logits [len(ids), vocabulary] of one fresh sequence; row i predicts ids[i + 1].

        Raises UsageError for an empty sequence or an id outside the vocabulary.
        """
        self._start(ids, len(ids))
        rows = [
            self._decode(ids[start : start + _BATCH], every_row=True)
            for start in range(0, len(ids), _BATCH)
        ]
        return np.concatenate(rows)

    def generate(self, ids: Sequence[int], limit: int, stop_ids: Collection[int]) -> list[int]:
        """At most `limit` greedy tokens after `ids`; a stop token, when reached, is the last."""
        self._start(ids, len(ids) + limit)
        for start in range(0, len(ids), _BATCH):
            last = self._decode(ids[start : start + _BATCH], every_row=False)
        made: list[int] = []
        while len(made) < limit:
            made.append(int(last[0].argmax()))
            if made[-1] in stop_ids:
                break
            last = self._decode(made[-1:], every_row=False)
        return made

    def tokenize(self, text: str) -> list[int]:
        """Ids of `text` by the artifact's own tokenizer: control tokens parsed, none added."""
        self._check_open()
        data = text.encode()
        # No token stands for less than a byte, but a tokenizer may put a space in front.
        ids = (ctypes.c_int32 * (len(data) + 16))()
        count = self._library.llama_tokenize(
            self._vocab, data, len(data), ids, len(ids), False, True
        )
        if count < 0:
            raise DamagedInput(f"{self._path}: its tokenizer gives {-count} tokens for {text!r}")
        return ids[:count]

    def detokenize(self, ids: Sequence[int]) -> str:
        """Text of `ids`, control tokens spelled out; bytes that are not UTF-8 are replaced."""
        self._check_open()
        if ids:
            check_ids(ids, self.vocabulary, self._path)
        given = (ctypes.c_int32 * len(ids))(*ids)
        space = 64 * (len(ids) + 1)
        while True:
            text = ctypes.create_string_buffer(space)
            size = self._library.llama_detokenize(
                self._vocab, given, len(ids), text, space, False, True
            )
            if size >= 0:
                return text.raw[:size].decode(errors="replace")
            space = -size

    def _special_ids(self) -> SpecialIds:
        """As the library understands the file: it has defaults for what a header leaves out."""
        library, vocab = self._library, self._vocab
        bos, eos, pad = (
            None if found == _NO_TOKEN else found
            for found in (
                library.llama_vocab_bos(vocab),
                library.llama_vocab_eos(vocab),
                library.llama_vocab_pad(vocab),
            )
        )
        return SpecialIds(
            bos,
            eos,
            library.llama_vocab_get_add_bos(vocab),
            frozenset(i for i in range(self.vocabulary) if library.llama_vocab_is_eog(vocab, i)),
            finds_stops=True,
            add_eos=library.llama_vocab_get_add_eos(vocab),
            pad=pad,
        )

    def close(self) -> None:
        if self._context:
            self._library.llama_free(self._context)
        if self._model:
            self._library.llama_model_free(self._model)
        self._context = self._model = None
        self._capacity = 0

    def _start(self, ids: Sequence[int], length: int) -> None:
        """An empty sequence with room for `length` tokens."""
        self._check_open()
        check_ids(ids, self.vocabulary, self._path)
        if length > self._capacity:
            self._grow(-(-length // _BATCH) * _BATCH)
        self._library.llama_memory_clear(self._library.llama_get_memory(self._context), True)

    def _check_open(self) -> None:
        if not self._model:
            raise ValueError(f"{self._path} was closed")

    def _grow(self, capacity: int) -> None:
        if self._context:
            self._library.llama_free(self._context)
            self._context, self._capacity = None, 0
        parameters = self._library.context_parameters(
            n_ctx=capacity,
            n_batch=_BATCH,
            n_ubatch=_BATCH,
            n_threads=self._threads,
            n_threads_batch=self._threads,
            flash_attn=self._flash_attention,
            type_k=self._cache,
            type_v=self._cache,
        )
        self._library.last_error()
        self._context = self._library.llama_init_from_model(self._model, parameters)
        if not self._context:
            reason = self._library.last_error() or "no reason given"
            raise Unsupported(f"{self._path}: no context of {capacity} tokens: {reason}")
        asked = (capacity, _BATCH, self._threads)
        context, library = self._context, self._library
        got = (
            library.llama_n_ctx(context),
            library.llama_n_batch(context),
            library.llama_n_threads(context),
        )
        if got != asked:
            message = f"llama.cpp took context, batch and threads {got}, not {asked}"
            raise Unsupported(message, f"use {llama_library.WHEEL} {llama_library.TESTED_RELEASE}")
        self._capacity = capacity

    def _decode(self, ids: Sequence[int], *, every_row: bool) -> NDArray[np.float32]:
        """Append `ids` to the sequence; logits [len(ids) or 1, vocabulary] of all or the last."""
        count = len(ids)
        tokens = (ctypes.c_int32 * count)(*ids)
        wanted = (ctypes.c_int8 * count)(*([int(every_row)] * (count - 1)), 1)
        status = self._library.llama_decode(
            self._context, Batch(n_tokens=count, token=tokens, logits=wanted)
        )
        if status:
            reason = self._library.last_error() or f"status {status}"
            raise DamagedInput(f"{self._path}: llama.cpp cannot run it: {reason}")
        rows = self._library.llama_get_logits(self._context)
        shape = (count if every_row else 1, self.vocabulary)
        return np.ctypeslib.as_array(rows, shape).copy()


def _check_header(path: Path) -> None:
    """What can be checked before a library that may abort sees the file."""
    try:
        with path.open("rb") as file:
            head = file.read(24)
    except OSError as error:
        raise DamagedInput(f"{path} cannot be read: {error.strerror}") from error
    if len(head) < 24 or head[:4] != b"GGUF":
        raise DamagedInput(f"{path} is not a GGUF file: it starts with {head[:4]!r}")
    version, tensors, keys = struct.unpack_from("<IQQ", head, 4)
    size = path.stat().st_size
    if version not in (2, 3):
        raise DamagedInput(f"{path} is GGUF version {version}; 2 and 3 are known")
    # A tensor's entry and a key's entry take more than 12 bytes each.
    if not 0 < tensors * 12 + keys * 12 < size:
        raise DamagedInput(f"{path} declares {tensors} tensors and {keys} keys in {size} bytes")
