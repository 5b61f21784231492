"""`Deployment`: how the runtime will be started, as far as memory cares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgepack.errors import UsageError, unknown

Program = Literal["llama-cli", "llama-server", "mlx-lm", "onnxruntime-genai", "onnxruntime"]

DEFAULT_CONTEXT = 4096
"""Tokens a runtime makes room for unless told otherwise, where the model was trained for more."""

MLX_PREFILL_STEP = 2048
"""Tokens of a prompt that mlx-lm reads at once (`prefill_step_size` of its generate_step)."""

MICRO_BATCH = 512
"""Tokens that llama.cpp takes through a model at once unless told otherwise."""

CONTEXT_STEP = 256
"""llama.cpp rounds KV caches up to a multiple of this many cells; mlx-lm's grow by as many."""

MOST_SEQUENCES = 256
"""Sequences llama.cpp can tell apart in one context (LLAMA_MAX_SEQ); it refuses to make more."""

SERVING: tuple[Program, ...] = ("llama-cli", "llama-server")
"""Programs whose sequences share one context. Where the others take a batch (mlx-lm's
batch_generate, the batch of onnxruntime-genai's input), every sequence has a cache as long as the
longest, which nothing here plans."""


@dataclass(frozen=True, slots=True)
class CacheType:
    """How one KV element is stored: `block` elements take `block_bytes` bytes."""

    name: str
    block: int
    block_bytes: int

    @property
    def quantized(self) -> bool:
        return self.block > 1

    def row_bytes(self, elements: int) -> int:
        """Bytes of `elements` values; the caller has checked that blocks divide them."""
        return elements // self.block * self.block_bytes


CACHE_TYPES = {
    kind.name: kind
    for kind in (
        CacheType("f32", 1, 4),
        CacheType("f16", 1, 2),
        CacheType("bf16", 1, 2),
        CacheType("q8_0", 32, 34),
        CacheType("q5_1", 32, 24),
        CacheType("q5_0", 32, 22),
        CacheType("q4_1", 32, 20),
        CacheType("q4_0", 32, 18),
    )
}


@dataclass(frozen=True, slots=True)
class Deployment:
    """One way to run a decoder.

    `context` is in tokens and shared by all `slots`: as one pool if `unified`, else in equal
    parts. `micro_batch` is the number of tokens in one forward pass of prefill. Raises UsageError
    for a setting that the program would refuse.
    """

    context: int
    kv_type_k: str = "f16"
    kv_type_v: str = "f16"
    slots: int = 1
    unified: bool = True
    micro_batch: int = MICRO_BATCH
    flash_attention: bool = True
    program: Program = "llama-cli"

    def __post_init__(self) -> None:
        for name in ("context", "slots", "micro_batch"):
            value = getattr(self, name)
            if value < 1:
                raise UsageError(f"{name} is {value}", f"{name} must be at least 1")
        self._check_slots()
        for kind in (self.kv_type_k, self.kv_type_v):
            if kind not in CACHE_TYPES:
                raise unknown("KV cache type", kind, CACHE_TYPES)
        if self.v.quantized and not self.flash_attention:
            raise UsageError(
                f"a {self.kv_type_v} V cache needs flash attention, which is off",
                "turn flash attention on, or store V as f16",
            )

    def _check_slots(self) -> None:
        if self.slots > 1 and self.program not in SERVING:
            raise UsageError(
                f"slots is {self.slots}, and a package for {self.program} serves one sequence",
                "leave --slots out, or choose --to gguf",
            )
        if self.slots > MOST_SEQUENCES:
            raise UsageError(
                f"slots is {self.slots}", f"llama.cpp serves {MOST_SEQUENCES} sequences at most"
            )

    @property
    def k(self) -> CacheType:
        return CACHE_TYPES[self.kv_type_k]

    @property
    def v(self) -> CacheType:
        return CACHE_TYPES[self.kv_type_v]

    @property
    def streams(self) -> int:
        """Number of separate caches."""
        return 1 if self.unified else self.slots

    @property
    def sequence(self) -> int:
        """Tokens that one slot has room for."""
        return -(-self.context // self.streams)

    @property
    def cells(self) -> int:
        """Tokens one cache has room for: the context, or a slot's share of it, rounded up."""
        return padded(padded(self.context) // self.streams)

    def window_cells(self, window: int | None) -> int:
        """The same for layers that look at `window` tokens, None for all; never more than `cells`.

        llama.cpp keeps the windows of all sequences that share the cache, and one pass; mlx-lm's
        RotatingKVCache one window and all but one token of a step; onnxruntime-genai allocates
        `max_length` for every layer.
        """
        if window is None or self.program == "onnxruntime-genai":
            return self.cells
        if self.program == "mlx-lm":
            return min(self.cells, window + MLX_PREFILL_STEP - 1)
        sequences = self.slots if self.unified else 1
        return padded(min(self.cells, window * sequences + self.batch_tokens))

    @property
    def batch_tokens(self) -> int:
        """Tokens of the largest forward pass."""
        return min(self.micro_batch, self.context)

    @property
    def output_rows(self) -> int:
        """Rows of logits in the largest pass: a server asks for one per slot, a CLI for all."""
        if self.program == "llama-server":
            return min(self.slots, self.batch_tokens)
        return self.batch_tokens


def padded(tokens: int) -> int:
    """`tokens` rounded up to whole context steps."""
    return -(-tokens // CONTEXT_STEP) * CONTEXT_STEP
