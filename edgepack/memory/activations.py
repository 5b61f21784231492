"""What one forward pass of llama.cpp needs beside weights and caches: its compute buffer.

A graph is walked once, and its allocator gives the space of what is used up to what comes next
(ggml's ggml-alloc.c). So the widest point decides. tests/memory holds it against llama.cpp's own
planner.
"""

from __future__ import annotations

from edgepack.memory.deployment import Deployment
from edgepack.models.decoder import Attention, Decoder, FeedForward, Layer

FLOAT = 4
"""Bytes of a float32, the type of every activation."""

RESIDUAL_ROWS = 6
"""Activations of the model's width alive at the widest point of the graph.

llama.cpp's greedy allocator needs five or six, depending on which hole a tensor falls into; six
errs on the safe side, by at most 4 * micro_batch * width bytes.
"""

RECURRENT_ROWS = 6
"""Activations of a recurrence's inner width: its inputs, convolved, and what becomes of them.

3 for a short convolution, 5 for Mamba 2, 6 for the gated delta rule with keys of half its width.
"""


def compute_bytes(decoder: Decoder, deployment: Deployment) -> int:
    """Bytes of the activations of one forward pass on the CPU.

    The residual stream and the attention masks, one for each length of cache, live throughout;
    beside them stands the widest of: attention, feed-forward, recurrence, logits. Where the masks
    are larger than the logits, those take their place; so a longer context may need less.
    """
    row = FLOAT * deployment.batch_tokens
    masks = mask_bytes(decoder, deployment)
    stages = [_layer_elements(decoder, layer, deployment) for layer in set(decoder.layers)]
    mixing = (RESIDUAL_ROWS - 1) * (_streams(decoder) - 1) * decoder.width
    widest = row * (max(mixing, *stages) + 2 * _per_layer_inputs(decoder))
    logits = FLOAT * deployment.output_rows * decoder.vocabulary
    if logits <= masks:
        logits = 0
    kept = 0 if deployment.flash_attention else 2 * row * _widest_kv(decoder)
    return masks + kept + row * RESIDUAL_ROWS * decoder.width + max(widest, logits)


def mask_bytes(decoder: Decoder, deployment: Deployment) -> int:
    """Bytes of the masks of full and of windowed attention, float16 with flash attention."""
    windows = {
        layer.attention.window or layer.attention.chunk
        for layer in decoder.layers
        if layer.attention.heads
    }
    element = FLOAT // 2 if deployment.flash_attention else FLOAT
    cells = sum(deployment.window_cells(window) for window in windows)
    return element * deployment.batch_tokens * cells


def _layer_elements(decoder: Decoder, layer: Layer, deployment: Deployment) -> int:
    """Elements a token at the widest point of one layer, but for the residual stream."""
    widths = [_feed_forward_elements(layer.feed_forward, decoder.width)]
    if layer.attention.heads:
        widths.append(_attention_elements(layer.attention, deployment))
    if layer.recurrence:
        states = deployment.slots * (layer.recurrence.state + layer.recurrence.convolution)
        widths.append(
            RECURRENT_ROWS * layer.recurrence.inner + -(-states // deployment.batch_tokens)
        )
    return max(widths)


def _attention_elements(attention: Attention, deployment: Deployment) -> int:
    """Q and its rotation, K, V; without flash attention the scores of all heads, and K and V stay.

    Latent attention has Q, its rotated part, Q times what K is a projection by, and both of these
    side by side.
    """
    scores = 0
    if not deployment.flash_attention:
        scores = attention.heads * deployment.window_cells(attention.window or attention.chunk)
    if attention.latent:
        return scores + attention.heads * (attention.head_dim + 2 * attention.k_cached)
    if scores:
        return scores + attention.q_width
    return 2 * attention.q_width + 2 * attention.kv_width


def _feed_forward_elements(forward: FeedForward, width: int) -> int:
    """Gate, up and their product, of all experts a token passes; or those experts' results, as
    they are and weighted."""
    rows = 3 if forward.gated else 1
    experts = forward.experts
    if experts is None:
        return rows * forward.width
    used = experts.used
    return max(rows * forward.width, rows * used * experts.width, 2 * used * width)


def _widest_kv(decoder: Decoder) -> int:
    return max(
        0 if layer.attention.latent else layer.attention.kv_width for layer in decoder.layers
    )


def _per_layer_inputs(decoder: Decoder) -> int:
    """Elements a token of embeddings that layers have of their own; held twice for a while."""
    return _extent(decoder, "per_layer_token_embd.weight", axis=1)


def _streams(decoder: Decoder) -> int:
    """Residual streams side by side; all but one are projections of the first."""
    return 1 + _extent(decoder, "altup_proj.weight", axis=0)


def _extent(decoder: Decoder, role: str, axis: int) -> int:
    return next((weight.shape[axis] for weight in decoder.weights if weight.role == role), 0)
