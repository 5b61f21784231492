"""The process in which `trial` runs llama.cpp: a request on stdin, a result on stdout, as JSON."""

from __future__ import annotations

import ctypes
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any, Final

from edgepack.errors import DamagedInput, EdgepackError, Unsupported
from edgepack.fidelity.runtimes import llama_library
from edgepack.fidelity.runtimes.llama_library import Batch, LlamaLibrary
from edgepack.fidelity.runtimes.trial import Buffers, Trial, told
from edgepack.memory import Deployment

PROMPT: Final = 512  # tokens, llama-bench's pp512
SECONDS: Final = 3.0  # of decoding
DECODED: Final = 128  # tokens at most, llama-bench's tg128
SEED: Final = 1
BATCH: Final = 2048  # tokens for one call, as llama.cpp's programs have it
CACHE_TYPES: Final = {
    "f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8, "bf16": 30,
}  # fmt: skip  # ggml.h, enum ggml_type


def main(bare: int) -> None:
    """`bare` are the bytes of an interpreter without any of this, 0 where that is not known."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # whoever started it says that it was interrupted
    request = json.load(sys.stdin)
    try:
        result: Trial | EdgepackError = measure(
            Path(request["path"]), Deployment(**request["deployment"]), request["threads"], bare
        )
    except EdgepackError as error:
        result = error
    sys.stdout.write(json.dumps(told(result)) + "\n")


def measure(path: Path, deployment: Deployment, threads: int, bare: int) -> Trial:
    """Raises DamagedInput, Unsupported for a file, or a setting, that llama.cpp does not take."""
    beside = resident() - bare
    library = llama_library.load()
    start = time.perf_counter()
    model = _model(library, path)
    context = _context(library, model, path, deployment, threads)
    loaded, buffers = time.perf_counter() - start, _buffers(library)
    vocabulary = library.llama_vocab_n_tokens(library.llama_model_get_vocab(model))
    run = _Run(library, context, path, vocabulary)
    run.read(1)  # for what happens at the first call alone
    library.llama_memory_clear(library.llama_get_memory(context), True)
    room = deployment.context // deployment.streams
    prompt = max(1, min(PROMPT, room // 2))
    prefill = run.read(prompt)
    decoded, seconds = 0, 0.0
    most = max(1, min(DECODED, room - prompt))
    while decoded < most and seconds < SECONDS:
        seconds += run.read(1)
        decoded += 1
    return Trial(
        runtime=f"llama.cpp ({llama_library.WHEEL} {library.version})",
        threads=threads,
        load_seconds=loaded,
        prompt=prompt,
        prefill=prompt / prefill,
        decoded=decoded,
        decode=decoded / seconds,
        peak=peak() - beside,
        beside=beside,
        buffers=buffers,
    )


def _model(library: LlamaLibrary, path: Path) -> int:
    library.last_error()
    library.buffer_bytes()
    model: int | None = library.llama_model_load_from_file(
        os.fsencode(path), library.model_parameters(mapped=False)
    )
    if not model:
        raise DamagedInput(
            f"{path}: llama.cpp cannot load it: {library.last_error() or 'no reason given'}",
            "write or fetch it again",
        )
    return model


def _context(
    library: LlamaLibrary, model: int, path: Path, deployment: Deployment, threads: int
) -> int:
    """As llama.cpp's programs start it for this deployment."""
    server = deployment.program == "llama-server"
    parameters = library.context_parameters(
        unified=deployment.unified,
        whole_windows=False,
        n_ctx=deployment.context,
        n_batch=BATCH,
        n_ubatch=deployment.micro_batch,
        n_seq_max=deployment.slots,
        n_outputs_max=deployment.slots if server else 0,
        n_threads=threads,
        n_threads_batch=threads,
        flash_attn=int(deployment.flash_attention),
        type_k=CACHE_TYPES[deployment.kv_type_k],
        type_v=CACHE_TYPES[deployment.kv_type_v],
    )
    library.last_error()
    context: int | None = library.llama_init_from_model(model, parameters)
    if not context:
        reason = library.last_error() or "no reason given"
        raise Unsupported(f"{path}: no context of {deployment.context} tokens: {reason}")
    return context


class _Run:
    """Sequence 0 of a context, which goes on with random tokens."""

    def __init__(self, library: LlamaLibrary, context: int, path: Path, vocabulary: int) -> None:
        self._library, self._context, self._path = library, context, path
        self._vocabulary, self._random = vocabulary, random.Random(SEED)

    def read(self, count: int) -> float:
        """Seconds that `count` tokens took, with logits of the last."""
        ids = [self._random.randrange(self._vocabulary) for _ in range(count)]
        tokens = (ctypes.c_int32 * count)(*ids)
        wanted = (ctypes.c_int8 * count)(*([0] * (count - 1)), 1)
        start = time.perf_counter()
        status = self._library.llama_decode(
            self._context, Batch(n_tokens=count, token=tokens, logits=wanted)
        )
        if status:
            reason = self._library.last_error() or f"status {status}"
            raise DamagedInput(f"{self._path}: llama.cpp cannot run it: {reason}")
        self._library.llama_get_logits(self._context)  # waits for them
        return time.perf_counter() - start


def _buffers(library: LlamaLibrary) -> Buffers:
    found = library.buffer_bytes()
    return Buffers(
        weights=found.get("model", 0),
        kv=found.get("KV", 0),
        state=found.get("RS", 0),
        compute=found.get("compute", 0),
        output=found.get("output", 0),
    )


def resident() -> int:
    """Bytes resident now; where that is not known, the most so far."""
    return _status("VmRSS") or peak()


def peak() -> int:
    """The most bytes that were resident at once."""
    found = _status("VmHWM")
    if found:
        return found
    import resource

    most: Any = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(most) * (1 if sys.platform == "darwin" else 1024)


def _status(key: str) -> int:
    """Bytes of a line of /proc/self/status, 0 where there is none."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:")), 0)
