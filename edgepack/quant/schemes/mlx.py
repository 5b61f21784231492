"""MLX's schemes: one width for all modules, or mlx_lm's mixed recipes.

Which modules are quantized, and the recipes, are those of mlx_lm (utils.quantize_model and
convert.mixed_quant_predicate_builder): every matrix whose rows are whole groups, the embedding
and the head included. Everything else is stored in the model's own float type.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from edgepack.errors import UsageError, unknown
from edgepack.models.decoder import Decoder, DType, Weight
from edgepack.quant import groups
from edgepack.quant.encodings import ENCODINGS, Encoding
from edgepack.quant.groups import BITS, group_affine, mxfp4
from edgepack.quant.schemes.scheme import Assignment

GROUPS: tuple[int, ...] = groups.GROUPS
USUAL_GROUP = 64

RECIPES: Mapping[str, tuple[int, int]] = MappingProxyType(
    {"mixed_2_6": (2, 6), "mixed_3_4": (3, 4), "mixed_3_6": (3, 6), "mixed_4_6": (4, 6)}
)
"""Bits of most modules, and of those that suffer most."""

Mode = Literal["float", "affine", "mxfp4"]


@dataclass(frozen=True, slots=True)
class MlxScheme:
    """`bits` is that of most modules, `group` the weights that share a scale (1 for floats).

    `dtype` is the float type of all that is not quantized, None for the model's own; `plain`
    rounds as mx.quantize does instead of searching.
    """

    name: str
    bits: int
    summary: str
    mode: Mode
    group: int
    dtype: DType | None = None
    plain: bool = False

    def assign(self, decoder: Decoder) -> tuple[Assignment, ...]:
        """An encoding for every weight that the checkpoint stores."""
        return tuple(
            Assignment(weight, self._encoding(weight, decoder))
            for weight in decoder.weights
            if weight.source is not None
        )

    def _encoding(self, weight: Weight, decoder: Decoder) -> Encoding:
        dtype = self.dtype or decoder.dtype
        if self.mode == "float" or not quantizable(weight, self.group):
            return ENCODINGS[dtype]
        if self.mode == "mxfp4":
            return mxfp4(dtype, plain=self.plain)
        bits = module_bits(self.name, module(weight), len(decoder.layers)) or self.bits
        return group_affine(bits, self.group, dtype, plain=self.plain)


def quantizable(weight: Weight, group: int) -> bool:
    """A matrix whose rows are whole groups."""
    return len(weight.shape) > 1 and weight.shape[-1] % group == 0


def module(weight: Weight) -> str:
    """The path of the module that `weight` belongs to: `model.layers.3.mlp.up_proj`."""
    return str(weight.source).rpartition(".")[0]


def module_bits(name: str, path: str, layers: int) -> int | None:
    """The bits that recipe `name` gives the module at `path`; None where it is no recipe."""
    if name not in RECIPES:
        return None
    low, high = RECIPES[name]
    if path == "lm_head":
        return high
    exposed = path.endswith(("v_proj", "down_proj")) and _outer_or_third(layer_of(path), layers)
    return high if exposed else low


def layer_of(path: str) -> int:
    """The number in a module's path; modules outside the layers count with the first."""
    return next((int(part) for part in path.split(".") if part.isdecimal()), 0)


def _outer_or_third(layer: int, layers: int) -> bool:
    """The first and the last eighth of the layers, and every third between."""
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


_SUMMARIES: Mapping[int, str] = {
    8: "hardly distinguishable from half precision",
    6: "very close to half precision",
    5: "small loss",
    4: "the usual balance of size and quality",
    3: "noticeable loss",
    2: "severe loss; a last resort",
}


def _float(dtype: DType, bits: int, summary: str) -> MlxScheme:
    return MlxScheme(dtype, bits, summary, "float", 1, dtype)


def _affine(bits: int, group: int) -> MlxScheme:
    return MlxScheme(f"{bits}bit-g{group}", bits, _SUMMARIES[bits], "affine", group)


def _mixed(name: str) -> MlxScheme:
    low, high = RECIPES[name]
    summary = f"{low} bits, and {high} where they matter"
    return MlxScheme(name, low, summary, "affine", USUAL_GROUP)


FAITHFUL: tuple[MlxScheme, ...] = (
    _float("F32", 32, "full precision"),
    _float("BF16", 16, "what most checkpoints are stored in"),
    _float("F16", 16, "half precision"),
    *(_affine(8, group) for group in GROUPS),
    *(_affine(6, group) for group in GROUPS),
    *(_affine(5, group) for group in GROUPS),
    _mixed("mixed_4_6"),
    *(_affine(4, group) for group in GROUPS),
    MlxScheme("mxfp4", 4, "4-bit floats that share powers of two", "mxfp4", 32),
    _mixed("mixed_3_6"),
    _mixed("mixed_3_4"),
    *(_affine(3, group) for group in GROUPS),
    _mixed("mixed_2_6"),
    *(_affine(2, group) for group in GROUPS),
)
"""Every scheme, most faithful first."""

SCHEMES: Mapping[str, MlxScheme] = MappingProxyType({s.name: s for s in FAITHFUL})

USUAL: tuple[MlxScheme, ...] = (
    SCHEMES["BF16"],
    *(SCHEMES[f"{bits}bit-g{USUAL_GROUP}"] for bits in reversed(BITS)),
)
"""The schemes people mean by a number of bits."""


def native(decoder: Decoder) -> tuple[MlxScheme, ...]:
    """None: nothing that was released quantized stays as it was."""
    return ()


def scheme(name: str, *, plain: bool = False) -> MlxScheme:
    """The scheme called `name`, in any case. Raises UsageError with the nearest known name."""
    for known in FAITHFUL:
        if known.name.lower() == name.lower():
            return replace(known, plain=plain)
    raise unknown("scheme", name, SCHEMES)


def at(bits: int, group: int | None = None, *, plain: bool = False) -> MlxScheme:
    """`bits` bits in groups of 32, 64 (unless given) or 128; BF16 for 16 and F32 for 32 bits.

    Raises UsageError for bits or groups that MLX has not.
    """
    if bits in (16, 32):
        if group is not None:
            raise UsageError(f"--group {group}: {bits}-bit floats have no groups", "leave it out")
        return scheme("BF16" if bits == 16 else "F32", plain=plain)
    if bits not in BITS:
        known = ", ".join(map(str, (*BITS, 16, 32)))
        raise UsageError(f"mlx has no scheme of {bits} bits", f"known: {known}")
    group = USUAL_GROUP if group is None else group
    if group not in GROUPS:
        known = ", ".join(map(str, GROUPS))
        raise UsageError(f"mlx has no groups of {group} weights", f"known: {known}")
    return scheme(f"{bits}bit-g{group}", plain=plain)
