"""A decoder small enough to write here twice: as a GGUF file, and as arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFWriter, TokenType
from gguf.quants import quantize

CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>")


def byte_letters() -> list[str]:
    """The 256 printable letters that byte-level BPE writes bytes as, in byte order."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spare = iter(range(256, 512))
    return [chr(b) if b in plain else chr(next(spare)) for b in range(256)]


@dataclass(frozen=True)
class TinyDecoder:
    """Random weights: 2 layers, width 64, 4 heads sharing 2 KV heads, halves rotated."""

    tensors: dict[str, np.ndarray]
    layers: int = 2
    width: int = 64
    heads: int = 4
    kv_heads: int = 2
    inner: int = 96
    rope_base: float = 10_000.0
    epsilon: float = 1e-6
    context: int = 4096

    @property
    def vocabulary(self) -> int:
        return len(CONTROL) + 256

    def write(self, path: Path, kind: GGMLQuantizationType = GGMLQuantizationType.F32) -> Path:
        """The GGUF file, every matrix stored as `kind`."""
        writer = GGUFWriter(path, "qwen2")
        writer.add_context_length(self.context)
        writer.add_embedding_length(self.width)
        writer.add_block_count(self.layers)
        writer.add_feed_forward_length(self.inner)
        writer.add_head_count(self.heads)
        writer.add_head_count_kv(self.kv_heads)
        writer.add_rope_freq_base(self.rope_base)
        writer.add_layer_norm_rms_eps(self.epsilon)
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("smollm")
        writer.add_token_list([*CONTROL, *byte_letters()])
        writer.add_token_types([TokenType.CONTROL] * len(CONTROL) + [TokenType.NORMAL] * 256)
        writer.add_token_merges(["a b"])
        writer.add_eos_token_id(2)
        writer.add_add_bos_token(False)
        for name, tensor in self.tensors.items():
            if tensor.ndim == 1:
                writer.add_tensor(name, tensor)
            else:
                writer.add_tensor(name, quantize(tensor, kind), raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    def logits(self, ids: list[int]) -> np.ndarray:
        """float64 [T, V], from the textbook equations."""
        weights = {name: tensor.astype(np.float64) for name, tensor in self.tensors.items()}
        x = weights["token_embd.weight"][ids]
        for layer in range(self.layers):
            block = {
                name.split(".", 2)[2]: tensor
                for name, tensor in weights.items()
                if name.startswith(f"blk.{layer}.")
            }
            x = x + self._attend(self._norm(x, block["attn_norm.weight"]), block)
            y = self._norm(x, block["ffn_norm.weight"])
            gate = y @ block["ffn_gate.weight"].T
            gate = gate / (1 + np.exp(-gate)) * (y @ block["ffn_up.weight"].T)
            x = x + gate @ block["ffn_down.weight"].T
        return self._norm(x, weights["output_norm.weight"]) @ weights["output.weight"].T

    def _norm(self, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + self.epsilon) * weight

    def _attend(self, x: np.ndarray, block: dict[str, np.ndarray]) -> np.ndarray:
        length, size = len(x), self.width // self.heads
        q, k, v = (x @ block[f"attn_{n}.weight"].T + block[f"attn_{n}.bias"] for n in "qkv")
        q = self._rotate(q.reshape(length, self.heads, size))
        k = self._rotate(k.reshape(length, self.kv_heads, size))
        v = v.reshape(length, self.kv_heads, size)
        share = self.heads // self.kv_heads
        scores = np.einsum("ihd,jhd->hij", q, k.repeat(share, 1)) / np.sqrt(size)
        scores = np.where(np.tri(length, dtype=bool), scores, -np.inf)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
        mixed = np.einsum("hij,jhd->ihd", scores, v.repeat(share, 1))
        return mixed.reshape(length, self.width) @ block["attn_output.weight"].T

    def _rotate(self, x: np.ndarray) -> np.ndarray:
        half = x.shape[-1] // 2
        angle = np.arange(len(x))[:, None] * self.rope_base ** (-np.arange(half) / half)
        cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
        first, second = x[..., :half], x[..., half:]
        return np.concatenate([first * cos - second * sin, second * cos + first * sin], -1)


@pytest.fixture(scope="session")
def tiny() -> TinyDecoder:
    rng = np.random.default_rng(7)
    shape = TinyDecoder({})
    width, inner, kv = shape.width, shape.inner, shape.width // shape.heads * shape.kv_heads

    def matrix(rows: int, columns: int, gain: float = 1.0) -> np.ndarray:
        return (gain * rng.standard_normal((rows, columns)) / np.sqrt(columns)).astype(np.float32)

    def vector(length: int, mean: float, spread: float) -> np.ndarray:
        return (mean + spread * rng.standard_normal(length)).astype(np.float32)

    tensors = {"token_embd.weight": matrix(shape.vocabulary, width, 8.0)}
    for layer in range(shape.layers):
        block = {
            "attn_norm.weight": vector(width, 1.0, 0.1),
            "attn_q.weight": matrix(width, width),
            "attn_q.bias": vector(width, 0.0, 0.1),
            "attn_k.weight": matrix(kv, width),
            "attn_k.bias": vector(kv, 0.0, 0.1),
            "attn_v.weight": matrix(kv, width),
            "attn_v.bias": vector(kv, 0.0, 0.1),
            "attn_output.weight": matrix(width, width),
            "ffn_norm.weight": vector(width, 1.0, 0.1),
            "ffn_gate.weight": matrix(inner, width),
            "ffn_up.weight": matrix(inner, width),
            "ffn_down.weight": matrix(width, inner),
        }
        tensors |= {f"blk.{layer}.{name}": tensor for name, tensor in block.items()}
    tensors["output_norm.weight"] = vector(width, 1.0, 0.1)
    tensors["output.weight"] = matrix(shape.vocabulary, width, 3.0)
    return TinyDecoder(tensors)


@pytest.fixture(scope="session")
def tiny_gguf(tiny: TinyDecoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("tiny") / "tiny-f32.gguf")
