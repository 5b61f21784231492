"""The reference programs these tests compare with, and small models of any shape."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgepack.models import families
from edgepack.models.decoder import (
    Attention,
    Decoder,
    FeedForward,
    Layer,
    Rope,
    Weight,
)

Reference = Callable[..., NDArray[np.uint8]]


@pytest.fixture(scope="session")
def ggml() -> Reference:
    """`ggml_quantize_chunk` of a prebuilt libggml: (name, rows, importance or None) -> bytes."""
    gguf = pytest.importorskip("gguf")
    spec = find_spec("libggml")
    if spec is None or spec.origin is None:
        pytest.skip("libggml-python has no wheel here")
    library = next(Path(spec.origin).parent.rglob("libggml-base.so"))
    quantize = ctypes.CDLL(str(library)).ggml_quantize_chunk
    quantize.restype = ctypes.c_size_t
    pointer, count = ctypes.c_void_p, ctypes.c_int64
    quantize.argtypes = [ctypes.c_int, pointer, pointer, count, count, count, pointer]

    def encode(
        name: str, rows: NDArray[np.float32], importance: NDArray[np.float32] | None = None
    ) -> NDArray[np.uint8]:
        kind = gguf.GGMLQuantizationType[name]
        block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
        rows = np.ascontiguousarray(rows)
        out = np.zeros((rows.shape[0], rows.shape[1] // block * block_bytes), np.uint8)
        matrix = None if importance is None else importance.ctypes.data
        size = quantize(int(kind), rows.ctypes.data, out.ctypes.data, 0, *rows.shape, matrix)
        assert size == out.nbytes
        return out

    return encode


@pytest.fixture
def decoder() -> Callable[..., Decoder]:
    return make_decoder


def make_decoder(
    *,
    layers: int = 2,
    heads: int = 4,
    kv_heads: int = 4,
    width: int = 256,
    ffn: int = 512,
    tied: bool = False,
    architecture: str = "llama",
) -> Decoder:
    """A decoder with real row lengths and few rows: the rules ask for no more."""
    attention = Attention(heads, kv_heads, width // heads, Rope(1e4, width // heads))
    columns = {
        "attn_norm.weight": None,
        "attn_q.weight": width,
        "attn_q.bias": None,
        "attn_k.weight": width,
        "attn_v.weight": width,
        "attn_output.weight": width,
        "ffn_norm.weight": None,
        "ffn_gate.weight": width,
        "ffn_up.weight": width,
        "ffn_down.weight": ffn,
    }
    weights = [Weight("token_embd.weight", None, (16, width), "embedding")]
    for index in range(layers):
        for role, length in columns.items():
            shape = (8,) if length is None else (4, length)
            weights.append(Weight(role, index, shape, f"{index}.{role}"))
    weights.append(Weight("output_norm.weight", None, (width,), "norm"))
    if not tied:
        weights.append(Weight("output.weight", None, (16, width), "head"))
    return Decoder(
        vocabulary=16,
        width=width,
        context_length=128,
        layers=(Layer(attention, FeedForward(ffn)),) * layers,
        norm_epsilon=1e-5,
        tied_embeddings=tied,
        weights=tuple(weights),
        gguf=families.naming(architecture),
    )
