"""Schemes of models that another program exports: the whole in float32, or int8 made of that.

`int8-dynamic` is onnxruntime's dynamic quantization: matrices in 8 bits with a scale per output,
activations scaled anew in every product, everything else in float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from edgepack.errors import Unsupported, UsageError, unknown
from edgepack.models.decoder import Decoder
from edgepack.quant.schemes.scheme import Assignment, Scheme

FLOAT_BYTES = 4
SCALE_BYTES = 5  # a float32 scale and an 8-bit zero point


@dataclass(frozen=True, slots=True)
class ExportedScheme:
    """What becomes of a model's matrices; `bits` is nominal."""

    name: str
    bits: int
    summary: str

    def assign(self, decoder: Decoder) -> tuple[Assignment, ...]:
        """Raises Unsupported: a decoder is not exported, edgepack writes its graph itself."""
        raise Unsupported(
            f"{self.name} is for models that are exported, such as encoders",
            "--bits 8 has a scheme for decoders",
        )


def stored_bytes(scheme: Scheme, shape: tuple[int, ...]) -> int:
    """Bytes of one tensor, near enough to tell whether a model fits: an exporter leaves out what
    the task does not need."""
    if scheme.bits == F32.bits or len(shape) < 2:
        return FLOAT_BYTES * prod(shape)
    return prod(shape) + SCALE_BYTES * shape[0]


F32 = ExportedScheme("F32", 32, "full precision")
INT8 = ExportedScheme("int8-dynamic", 8, "small loss; activations in 8 bits too")
FAITHFUL: tuple[ExportedScheme, ...] = (F32, INT8)
USUAL = FAITHFUL
GROUPS: tuple[int, ...] = ()


def native(decoder: Decoder) -> tuple[ExportedScheme, ...]:
    """None: nothing that was released quantized stays as it was."""
    return ()


def scheme(name: str, *, plain: bool = False) -> ExportedScheme:
    """The scheme called `name`, in any case. Raises UsageError with the nearest known name.

    `plain` changes nothing: all of them round to nearest.
    """
    found = {known.name.lower(): known for known in FAITHFUL}.get(name.lower())
    if found is None:
        raise unknown("scheme", name, [known.name for known in FAITHFUL])
    return found


def at(bits: int, group: int | None = None, *, plain: bool = False) -> ExportedScheme:
    """The scheme of `bits` bits; there are no groups. Raises UsageError where there is none."""
    assert group is None
    found = {known.bits: known for known in FAITHFUL}.get(bits)
    if found is None:
        raise UsageError(f"an exported model has no scheme of {bits} bits", "known: 8, 32")
    return found
