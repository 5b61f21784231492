"""ONNX schemes: every matrix in blocks of 4-bit or 8-bit integers, or all of the model in floats.

`int4-g32`: 4 bits, groups of 32 weights that share a scale; `-asym` adds a zero point per group,
`-head8` gives the output head 8 bits, and so the embedding where it is tied. Norms and biases, and
the activations, are float32, but for F16.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from edgepack.errors import UsageError, unknown
from edgepack.models import rope
from edgepack.models.decoder import Decoder, Weight
from edgepack.quant.encodings import ENCODINGS, Encoding
from edgepack.quant.nbits import BlockInts, block_ints
from edgepack.quant.schemes.scheme import Assignment

GROUPS: Final = (32, 64, 128)
USUAL_GROUP: Final = 32


@dataclass(frozen=True, slots=True)
class OnnxScheme:
    """`matrices` encodes every matrix but the `head`, `vectors` norms, biases, and angles."""

    name: str
    bits: int
    summary: str
    matrices: Encoding
    head: Encoding
    vectors: Encoding

    def assign(self, decoder: Decoder) -> tuple[Assignment, ...]:
        """An encoding for the tables of angles, then for every weight of the checkpoint."""
        head = "token_embd.weight" if decoder.tied_embeddings else "output.weight"
        tables = (table for pair in rope.tables(decoder).values() for table in pair)
        stored = (weight for weight in decoder.weights if weight.source is not None)
        return tuple(Assignment(w, self._encoding(w, head)) for w in (*tables, *stored))

    def _encoding(self, weight: Weight, head: str) -> Encoding:
        if len(weight.shape) == 1 or weight.source is None:
            return self.vectors
        return self.head if weight.role == head else self.matrices


def _floats(name: str, bits: int, summary: str) -> OnnxScheme:
    return OnnxScheme(name, bits, summary, *[ENCODINGS[name]] * 3)


def _ints(name: str, summary: str) -> OnnxScheme:
    """The scheme that `name` describes."""
    kind, group, *rest = name.split("-")
    bits, width, symmetric = int(kind[3:]), int(group[1:]), "asym" not in rest
    matrices = block_ints(bits, width, symmetric=symmetric)
    head = block_ints(8, width, symmetric=symmetric) if "head8" in rest else matrices
    return OnnxScheme(name, bits, summary, matrices, head, ENCODINGS["F32"])


FAITHFUL: tuple[OnnxScheme, ...] = (
    _floats("F32", 32, "full precision"),
    _floats("F16", 16, "half precision"),
    _ints("int8-g32-asym", "hardly distinguishable from half precision"),
    _ints("int8-g32", "hardly distinguishable from half precision"),
    _ints("int8-g64-asym", "hardly distinguishable from half precision"),
    _ints("int8-g64", "hardly distinguishable from half precision"),
    _ints("int8-g128-asym", "very close to half precision"),
    _ints("int8-g128", "very close to half precision; smallest with 8 bits"),
    _ints("int4-g32-asym-head8", "small loss; more bits where they matter"),
    _ints("int4-g32-head8", "moderate loss; more bits where they matter"),
    _ints("int4-g64-asym-head8", "moderate loss; more bits where they matter"),
    _ints("int4-g128-asym-head8", "moderate loss; more bits where they matter"),
    _ints("int4-g32-asym", "moderate loss"),
    _ints("int4-g32", "moderate loss"),
    _ints("int4-g64-asym", "moderate loss; smaller"),
    _ints("int4-g64", "noticeable loss; smaller"),
    _ints("int4-g128-asym", "noticeable loss; small"),
    _ints("int4-g128", "noticeable loss; the smallest"),
)
"""Every scheme, most faithful first."""

SCHEMES: Mapping[str, OnnxScheme] = MappingProxyType({scheme.name: scheme for scheme in FAITHFUL})

USUAL: tuple[OnnxScheme, ...] = tuple(
    SCHEMES[name] for name in ("F16", "int8-g32", "int4-g32-asym-head8")
)
"""The schemes people mean by a number of bits."""


def native(decoder: Decoder) -> tuple[OnnxScheme, ...]:
    """None: nothing that was released quantized stays as it was."""
    return ()


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
    matrices, head = _rounded(found.matrices), _rounded(found.head)
    return replace(found, matrices=matrices, head=head)


def _rounded(encoding: Encoding) -> Encoding:
    return replace(encoding, search=False) if isinstance(encoding, BlockInts) else encoding
