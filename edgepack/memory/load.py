"""`Load`: what a runtime has to hold and to read, by layer, before it is placed anywhere."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from edgepack.memory.activations import compute_bytes
from edgepack.memory.deployment import Deployment, Program
from edgepack.memory.law import (
    copied_bytes,
    layer_kv_bytes,
    layer_state_bytes,
    output_bytes,
    overhead_bytes,
)
from edgepack.memory.layers import LayerBytes, OuterBytes, layer_bytes, outer_bytes
from edgepack.models.decoder import Decoder, Layer

if TYPE_CHECKING:
    from edgepack.quant.schemes import Assignment, Scheme


WIDENING: Final[tuple[Program, ...]] = ("onnxruntime-genai", "onnxruntime")
HALF: Final = 16  # bits


@dataclass(frozen=True, slots=True)
class Load:
    """What is divided, in bytes. `read` and `experts_read` are those of each layer, without its
    routed experts and of them, that one token passes; `beside` is what the process keeps in main
    memory whatever lies elsewhere: logits, tokenizer, code, second copies. `projector`, what
    a model sees or hears with, lies whole on the first card (llama.cpp's mmproj)."""

    layers: tuple[LayerBytes, ...]
    read: tuple[int, ...]
    experts_read: tuple[int, ...]
    outer: OuterBytes
    compute: int
    beside: int
    projector: int = 0

    @property
    def total(self) -> int:
        """All of it in one memory."""
        layers = sum(layer.total for layer in self.layers)
        return layers + self.outer.total + self.compute + self.beside + self.projector

    @property
    def logits(self) -> int:
        """Bytes of the weights that give logits: stored where they are calculated, and read."""
        return self.outer.head + self.outer.tied


@dataclass(frozen=True, slots=True)
class Assigned:
    """A scheme whose choice for one decoder is made once: every law asks for it."""

    name: str
    bits: int
    summary: str
    assignments: tuple[Assignment, ...]

    @classmethod
    def to(cls, decoder: Decoder, scheme: Scheme) -> Assigned:
        return cls(scheme.name, scheme.bits, scheme.summary, scheme.assign(decoder))

    def assign(self, decoder: Decoder) -> tuple[Assignment, ...]:
        return self.assignments


class Loads:
    """The loads of one decoder under one scheme, for deployments of one program."""

    def __init__(
        self, decoder: Decoder, scheme: Scheme, deployment: Deployment, projector_bytes: int = 0
    ) -> None:
        """Raises UsageError for a cache type that does not suit the decoder's heads."""
        self._decoder, self._projector = decoder, projector_bytes
        # onnxruntime multiplies no float16: it holds, and reads, float32
        widened = deployment.program in WIDENING and scheme.bits == HALF
        self._width = 2 if widened else 1
        self._stored = layer_bytes(decoder, scheme, deployment)
        self._outer = outer_bytes(decoder, scheme)
        copies = copied_bytes(decoder, scheme, deployment.program)
        self._beside = overhead_bytes(decoder, deployment.program) + copies
        kinds = {layer: index for index, layer in enumerate(dict.fromkeys(decoder.layers))}
        self._kinds = tuple(kinds)
        self._kind_of = tuple(kinds[layer] for layer in decoder.layers)
        shares = [_share(layer) for layer in kinds]
        self._experts_read = tuple(
            round(stored.experts * shares[kind])
            for stored, kind in zip(self._stored, self._kind_of, strict=True)
        )

    def at(self, deployment: Deployment) -> Load:
        """The load of `deployment`; what is read is at the end of its context, by one sequence."""
        alone = replace(deployment, context=deployment.cells, slots=1, unified=True)
        kept = [_past(layer, deployment) for layer in self._kinds]
        passed = [sum(_past(layer, alone)) for layer in self._kinds]
        each = tuple(zip(self._stored, self._kind_of, strict=True))
        return Load(
            layers=tuple(LayerBytes(s.weights, s.experts, *kept[kind]) for s, kind in each),
            read=tuple(self._width * s.weights + passed[kind] for s, kind in each),
            experts_read=self._experts_read,
            outer=self._outer,
            compute=compute_bytes(self._decoder, deployment),
            beside=self._beside + output_bytes(self._decoder, deployment),
            projector=self._projector,
        )


def _past(layer: Layer, deployment: Deployment) -> tuple[int, int]:
    """Bytes of a layer's KV cache and of its recurrent state."""
    return layer_kv_bytes(layer, deployment), layer_state_bytes(layer, deployment)


def _share(layer: Layer) -> float:
    """The share of its routed experts that one token passes."""
    experts = layer.feed_forward.experts
    return experts.used / experts.count if experts else 0.0
