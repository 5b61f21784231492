"""ONNX schemes: every matrix in blocks of 4-bit or 8-bit integers, or all of the model in floats.

`int4-g32`: 4 bits, groups of 32 weights that share a scale; `-asym` adds a zero point per group.
Norms and biases, and the activations, are float32, but for F16.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from edgepack.errors import UsageError, unknown
from edgepack.models.decoder import Decoder, Weight
from edgepack.quant.encodings import ENCODINGS, Encoding
from edgepack.quant.nbits import BlockInts, block_ints
from edgepack.quant.schemes.scheme import Assignment

GROUPS: Final = (32, 64, 128)
USUAL_GROUP: Final = 32


@dataclass(frozen=True, slots=True)
class OnnxScheme:
    """`matrices` is the encoding of every matrix, `vectors` of norms and biases."""

    name: str
    bits: int
    summary: str
    matrices: Encoding
    vectors: Encoding

    def assign(self, decoder: Decoder) -> tuple[Assignment, ...]:
        """An encoding for every weight of the checkpoint, in the order of `decoder.weights`."""
        stored = (weight for weight in decoder.weights if weight.source is not None)
        return tuple(Assignment(weight, self._encoding(weight)) for weight in stored)

    def _encoding(self, weight: Weight) -> Encoding:
        return self.matrices if len(weight.shape) > 1 else self.vectors


def _floats(name: str, bits: int, summary: str) -> OnnxScheme:
    return OnnxScheme(name, bits, summary, ENCODINGS[name], ENCODINGS[name])


def _ints(bits: int, group: int, symmetric: bool, summary: str) -> OnnxScheme:
    matrices = block_ints(bits, group, symmetric=symmetric)
    return OnnxScheme(matrices.name, bits, summary, matrices, ENCODINGS["F32"])


FAITHFUL: tuple[OnnxScheme, ...] = (
    _floats("F32", 32, "full precision"),
    _floats("F16", 16, "half precision"),
    _ints(8, 32, False, "hardly distinguishable from half precision"),
    _ints(8, 32, True, "hardly distinguishable from half precision"),
    _ints(8, 64, False, "hardly distinguishable from half precision"),
    _ints(8, 64, True, "hardly distinguishable from half precision"),
    _ints(8, 128, False, "very close to half precision"),
    _ints(8, 128, True, "very close to half precision; smallest with 8 bits"),
    _ints(4, 32, False, "small loss"),
    _ints(4, 32, True, "moderate loss"),
    _ints(4, 64, False, "moderate loss; smaller"),
    _ints(4, 64, True, "noticeable loss; smaller"),
    _ints(4, 128, False, "noticeable loss; small"),
    _ints(4, 128, True, "noticeable loss; the smallest"),
)
"""Every scheme, most faithful first."""

SCHEMES: Mapping[str, OnnxScheme] = MappingProxyType({scheme.name: scheme for scheme in FAITHFUL})

USUAL: tuple[OnnxScheme, ...] = tuple(
    SCHEMES[name] for name in ("F16", "int8-g32", "int4-g32-asym")
)
"""The schemes people mean by a number of bits."""


def scheme(name: str, *, plain: bool = False) -> OnnxScheme:
    """The scheme called `name`, in any case. Raises UsageError with the nearest known name.

    `plain` rounds to nearest, to the bits onnxruntime's own quantizer writes.
    """
    lowered = {known.lower(): scheme for known, scheme in SCHEMES.items()}
    found = lowered.get(name.lower())
    if found is None:
        raise unknown("scheme", name, SCHEMES)
    return _plain(found) if plain else found


def at(bits: int, group: int | None = None, *, plain: bool = False) -> OnnxScheme:
    """The usual scheme of `bits` bits. Raises UsageError where there is none, or no such group."""
    usual = {found.bits: found for found in (SCHEMES["F32"], *USUAL)}.get(bits)
    if usual is None:
        raise UsageError(f"onnx has no scheme of {bits} bits", "known: 4, 8, 16, 32")
    if group is not None and (bits > 8 or group not in GROUPS):
        known = ", ".join(map(str, GROUPS))
        raise UsageError(f"onnx has no {bits} bits in groups of {group}", f"known: 4, 8; {known}")
    if group is None:
        return _plain(usual) if plain else usual
    return scheme(usual.name.replace(f"-g{USUAL_GROUP}", f"-g{group}"), plain=plain)


def _plain(found: OnnxScheme) -> OnnxScheme:
    """`found` without its search."""
    if not isinstance(found.matrices, BlockInts):
        return found
    return replace(found, matrices=replace(found.matrices, search=False))
