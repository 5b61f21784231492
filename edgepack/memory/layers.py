"""What each layer of a decoder takes: what a runtime that divides a model by layers divides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgepack.memory.deployment import Deployment
from edgepack.memory.law import check_heads, layer_kv_bytes, layer_state_bytes
from edgepack.models.decoder import Decoder, Weight

if TYPE_CHECKING:
    from edgepack.quant.schemes import Scheme

EMBEDDINGS = ("token_embd.weight", "per_layer_token_embd.weight")
"""Tables of which a token reads one row; llama.cpp never moves them to an accelerator."""


@dataclass(frozen=True, slots=True)
class LayerBytes:
    """Bytes of one layer.

    `experts` are the weights of routed experts, which llama.cpp can keep apart from the layer
    (`--n-cpu-moe`); `weights` all others. `kv` is its cache over all slots, `state` what a
    recurrence keeps.
    """

    weights: int
    experts: int
    kv: int
    state: int = 0

    @property
    def total(self) -> int:
        return self.weights + self.experts + self.kv + self.state


@dataclass(frozen=True, slots=True)
class OuterBytes:
    """Bytes of the weights that are of no layer.

    `embeddings` stay with the CPU. `head` is all after the last layer: its norm and the output
    matrix. Where embeddings are `tied`, they are that matrix too: an accelerator that calculates
    logits keeps a copy of `tied` bytes.
    """

    embeddings: int
    head: int
    tied: int

    @property
    def total(self) -> int:
        """What a file has of them."""
        return self.embeddings + self.head


def layer_bytes(decoder: Decoder, scheme: Scheme, deployment: Deployment) -> tuple[LayerBytes, ...]:
    """Bytes of every layer. With `outer_bytes` they add up to the weights, KV cache and state of
    the whole.

    Raises UsageError as `kv_cache_bytes` does.
    """
    check_heads(decoder, deployment)
    depth = len(decoder.layers)
    weights, experts = [0] * depth, [0] * depth
    for assignment in scheme.assign(decoder):
        layer = assignment.weight.layer
        if layer is not None and layer < depth:
            part = experts if routed(assignment.weight) else weights
            part[layer] += assignment.stored_bytes
    return tuple(
        LayerBytes(
            weights[index],
            experts[index],
            layer_kv_bytes(layer, deployment),
            layer_state_bytes(layer, deployment),
        )
        for index, layer in enumerate(decoder.layers)
    )


def outer_bytes(decoder: Decoder, scheme: Scheme) -> OuterBytes:
    """Bytes of the weights that are of no layer."""
    embeddings = head = tied = 0
    for assignment in scheme.assign(decoder):
        role, layer, size = assignment.weight.role, assignment.weight.layer, assignment.stored_bytes
        if role in EMBEDDINGS:
            embeddings += size
        elif layer is None or layer >= len(decoder.layers):
            head += size
        if role == "token_embd.weight" and decoder.tied_embeddings:
            tied = size
    return OuterBytes(embeddings, head, tied)


def routed(weight: Weight) -> bool:
    """Whether it belongs to experts of which a token passes a few: one tensor for all of them."""
    return "_exps." in weight.role
