"""llama.cpp's C interface, as the xllamacpp wheel exports it, through ctypes.

The wheel's extension module carries the public llama.h symbols. Parameter structs travel by value
and change between releases, so they are opaque blobs here: the library fills in its defaults, a
few fields are set by offset, and the offsets are trusted only after the defaults found at them
are the documented ones. Offsets: llama.h of release b11549.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import re
import struct
from collections import defaultdict, deque
from functools import cache
from pathlib import Path
from typing import Any, Final

from edgepack.errors import Missing, Unsupported

WHEEL: Final = "xllamacpp"
TESTED_RELEASE: Final = "2026.10.11549"
_INSTALL: Final = f"install it with: python -m pip install {WHEEL}=={TESTED_RELEASE}"

_MODEL_OFFSETS: Final = {"n_gpu_layers": 16, "load_mode": 24}
_CONTEXT_OFFSETS: Final = {
    "n_ctx": 0,
    "n_batch": 4,
    "n_ubatch": 8,
    "n_seq_max": 12,
    "n_outputs_max": 20,
    "n_threads": 28,
    "n_threads_batch": 32,
    "flash_attn": 52,
    "type_k": 104,
    "type_v": 108,
}
_MODEL_DEFAULTS: Final = {"n_gpu_layers": -1, "load_mode": -1}
_CONTEXT_DEFAULTS: Final = {
    "n_ctx": 512,
    "n_batch": 2048,
    "n_ubatch": 512,
    "n_seq_max": 1,
    "n_outputs_max": 0,
    "flash_attn": -1,
    "type_k": 1,
    "type_v": 1,
}
_OFFLOAD_KQV, _OP_OFFLOAD, _SWA_FULL, _KV_UNIFIED = 137, 139, 140, 141
_CONTEXT_FLAGS: Final = 0x01_01_01_01_00  # by default, a byte each, from _OFFLOAD_KQV on
_READ: Final = 0  # load_mode: weights are read into memory, not mapped
_LOG_ERROR, _LOG_CONTINUED = 4, 5
_BUFFER: Final = re.compile(rb"(model|KV|RS|output|compute) buffer size =\s*([\d.]+) MiB")
_MIB: Final = 1024 * 1024


class Parameters(ctypes.Structure):
    """A parameter struct seen as bytes: longer than any real one, and passed by value."""

    _fields_ = (("data", ctypes.c_ubyte * 512),)
    data: ctypes.Array[ctypes.c_ubyte]

    def integer(self, offset: int) -> int:
        return int(struct.unpack_from("<i", self.data, offset)[0])

    def set_integer(self, offset: int, value: int) -> None:
        struct.pack_into("<i", self.data, offset, value)

    def set_flag(self, offset: int, value: bool) -> None:
        struct.pack_into("<?", self.data, offset, value)


class Batch(ctypes.Structure):
    """llama_batch. Null positions and sequence ids mean: the next ones, of sequence 0."""

    _fields_ = (
        ("n_tokens", ctypes.c_int32),
        ("token", ctypes.POINTER(ctypes.c_int32)),
        ("embd", ctypes.c_void_p),
        ("pos", ctypes.c_void_p),
        ("n_seq_id", ctypes.c_void_p),
        ("seq_id", ctypes.c_void_p),
        ("logits", ctypes.POINTER(ctypes.c_int8)),
    )


_LogCallback = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_HANDLE: Final = ctypes.c_void_p
_INT: Final = ctypes.c_int32
_BOOL: Final = ctypes.c_bool
_BYTES: Final = ctypes.c_char_p
_IDS: Final = ctypes.POINTER(ctypes.c_int32)
_SIGNATURES: Final[dict[str, tuple[Any, tuple[Any, ...]]]] = {
    "llama_log_set": (None, (_LogCallback, _HANDLE)),
    "llama_model_default_params": (Parameters, ()),
    "llama_context_default_params": (Parameters, ()),
    "llama_model_load_from_file": (_HANDLE, (_BYTES, Parameters)),
    "llama_model_free": (None, (_HANDLE,)),
    "llama_model_get_vocab": (_HANDLE, (_HANDLE,)),
    "llama_vocab_n_tokens": (_INT, (_HANDLE,)),
    "llama_vocab_bos": (_INT, (_HANDLE,)),
    "llama_vocab_eos": (_INT, (_HANDLE,)),
    "llama_vocab_pad": (_INT, (_HANDLE,)),
    "llama_vocab_get_add_bos": (_BOOL, (_HANDLE,)),
    "llama_vocab_get_add_eos": (_BOOL, (_HANDLE,)),
    "llama_vocab_is_eog": (_BOOL, (_HANDLE, _INT)),
    "llama_init_from_model": (_HANDLE, (_HANDLE, Parameters)),
    "llama_free": (None, (_HANDLE,)),
    "llama_n_ctx": (ctypes.c_uint32, (_HANDLE,)),
    "llama_n_batch": (ctypes.c_uint32, (_HANDLE,)),
    "llama_n_threads": (_INT, (_HANDLE,)),
    "llama_get_memory": (_HANDLE, (_HANDLE,)),
    "llama_memory_clear": (None, (_HANDLE, _BOOL)),
    "llama_decode": (_INT, (_HANDLE, Batch)),
    "llama_get_logits": (ctypes.POINTER(ctypes.c_float), (_HANDLE,)),
    "llama_tokenize": (_INT, (_HANDLE, _BYTES, _INT, _IDS, _INT, _BOOL, _BOOL)),
    "llama_detokenize": (_INT, (_HANDLE, _IDS, _INT, _BYTES, _INT, _BOOL, _BOOL)),
}


class LlamaLibrary:
    """The loaded library, its functions typed, its log kept instead of printed."""

    def __init__(self, path: Path, version: str) -> None:
        self.version = version
        self._errors: deque[str] = deque(maxlen=8)
        self._buffers: defaultdict[str, float] = defaultdict(float)  # MiB
        try:
            self._library = ctypes.CDLL(str(path))
        except OSError as error:
            raise Missing(f"{path} cannot be loaded: {error}", _INSTALL) from error
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(self._library, name, None)
            if function is None:
                hint = f"{WHEEL} {TESTED_RELEASE} exports it on Linux and macOS, not on Windows"
                raise Missing(f"{WHEEL} {version} does not export {name}", hint)
            function.restype, function.argtypes = result, arguments
        # ctypes frees a callback that nothing holds, and the library would call freed memory.
        self._callback = _LogCallback(self._log)
        self._library.llama_log_set(self._callback, None)
        self._check_layout()

    def __getattr__(self, name: str) -> Any:
        if name not in _SIGNATURES:
            raise AttributeError(name)
        return getattr(self._library, name)

    def model_parameters(self, *, mapped: bool = True) -> Parameters:
        """Defaults, with everything on the CPU; weights are mapped, or read into memory."""
        parameters: Parameters = self._library.llama_model_default_params()
        parameters.set_integer(_MODEL_OFFSETS["n_gpu_layers"], 0)
        if not mapped:
            parameters.set_integer(_MODEL_OFFSETS["load_mode"], _READ)
        return parameters

    def context_parameters(
        self, *, unified: bool = False, whole_windows: bool = True, **fields: int
    ) -> Parameters:
        """Defaults, on the CPU, with the named integer `fields` of llama_context_params set.

        `unified`: sequences share one cache. `whole_windows`: layers with a window keep as many
        tokens as others, which llama.cpp's programs do not ask for.
        """
        parameters: Parameters = self._library.llama_context_default_params()
        for name, value in fields.items():
            parameters.set_integer(_CONTEXT_OFFSETS[name], value)
        parameters.set_flag(_OFFLOAD_KQV, False)
        parameters.set_flag(_OP_OFFLOAD, False)
        parameters.set_flag(_SWA_FULL, whole_windows)
        parameters.set_flag(_KV_UNIFIED, unified)
        return parameters

    def last_error(self) -> str:
        """What the library complained of since the last call of this, on one line."""
        text = "".join(self._errors)
        self._errors.clear()
        return "; ".join(line.strip() for line in text.splitlines() if line.strip())

    def buffer_bytes(self) -> dict[str, int]:
        """Bytes of the buffers it has told of since the last call of this: `model`, `KV`, `RS`
        (recurrent states), `output`, `compute`; it tells them to 0.01 MiB."""
        told = {kind: round(mib * _MIB) for kind, mib in self._buffers.items()}
        self._buffers.clear()
        return told

    def _log(self, level: int, text: bytes, _: object) -> None:
        told = _BUFFER.search(text)
        if told:
            self._buffers[told[1].decode()] += float(told[2])
        if level in (_LOG_ERROR, _LOG_CONTINUED):
            self._errors.append(text.decode(errors="replace"))

    def _check_layout(self) -> None:
        model = self._library.llama_model_default_params()
        context = self._library.llama_context_default_params()
        found = {n: model.integer(_MODEL_OFFSETS[n]) for n in _MODEL_DEFAULTS}
        found |= {n: context.integer(_CONTEXT_OFFSETS[n]) for n in _CONTEXT_DEFAULTS}
        found["flags"] = int.from_bytes(bytes(context.data)[_OFFLOAD_KQV : _KV_UNIFIED + 1])
        expected = _MODEL_DEFAULTS | _CONTEXT_DEFAULTS | {"flags": _CONTEXT_FLAGS}
        wrong = [f"{n} {found[n]}, not {expected[n]}" for n in expected if found[n] != expected[n]]
        if wrong:
            message = f"{WHEEL} {self.version} has other parameter structs: {', '.join(wrong)}"
            raise Unsupported(message, _INSTALL)


@cache
def load() -> LlamaLibrary:
    """The llama.cpp of the installed wheel. The wheel's Python part is not imported.

    Raises Missing when the wheel or its C symbols are absent, Unsupported when its parameter
    structs are not laid out as expected.
    """
    return LlamaLibrary(require(), importlib.metadata.version(WHEEL))


def require() -> Path:
    """The wheel's compiled module. Raises Missing where it is not installed."""
    found = importlib.util.find_spec(WHEEL)
    if found is None or found.origin is None:
        raise Missing(f"{WHEEL} is not installed, so no GGUF can be run", _INSTALL)
    folder = Path(found.origin).parent
    modules = sorted(p for p in folder.glob(f"{WHEEL}*") if p.suffix in (".so", ".pyd"))
    if not modules:
        raise Missing(f"{folder} holds no compiled {WHEEL} module", _INSTALL)
    return modules[0]
