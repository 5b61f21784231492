"""The modules of an MLX artifact, found by its tensors: which are quantized, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepack.errors import DamagedInput
from edgepack.models import TensorRef
from edgepack.quant.groups import BITS, GROUPS

FLOATS = ("F32", "F16", "BF16")
PACKED = "U32"
LEVELS, SCALES, BIASES = ".weight", ".scales", ".biases"
AFFINE = "affine"
MODES: Mapping[str, tuple[int, int]] = {
    AFFINE: (4, 64),
    "mxfp4": (4, 32),
    "mxfp8": (8, 32),
    "nvfp4": (4, 16),
}
"""Bits and group that MLX takes unasked; all but the first have no others, and scales of bytes."""
NOT_MODULES = ("group_size", "bits", "mode", "quant_method")


@dataclass(frozen=True, slots=True)
class Settings:
    """How one module is quantized: `bits` a weight, `group` weights to a scale."""

    bits: int
    group: int
    mode: str

    @property
    def name(self) -> str:
        return f"{self.bits}bit-g{self.group}" if self.mode == AFFINE else self.mode


@dataclass(frozen=True, slots=True)
class Module:
    """A weight as stored: in floats, `settings` None, or in planes that share a path."""

    path: str
    settings: Settings | None
    encoding: str
    size: int


def read_modules(
    entry: Path, quantization: Mapping[str, Any], tensors: Mapping[str, TensorRef]
) -> tuple[Module, ...]:
    """Every module, its planes checked against each other and against config.json, the `entry`.

    Raises DamagedInput.
    """
    modules, rest = [], dict(tensors)
    for name in tensors:
        if name.endswith(SCALES):
            path = name.removesuffix(SCALES)
            settings = _settings(entry, path, quantization)
            planes = [rest.pop(f"{path}{s}", None) for s in (LEVELS, SCALES, BIASES)]
            _check_planes(entry, path, settings, *planes)
            size = sum(plane.nbytes for plane in planes if plane)
            modules.append(Module(path, settings, settings.name, size))
    for name, ref in rest.items():
        if ref.dtype not in FLOATS:
            raise damaged(entry, f"tensor {name} is {ref.dtype} and has no scales")
        modules.append(Module(name.removesuffix(LEVELS), None, ref.dtype, ref.nbytes))
    _check_named(entry, quantization, modules)
    return tuple(modules)


def _settings(entry: Path, path: str, quantization: Mapping[str, Any]) -> Settings:
    """A module's own settings, or those of all; null stands for what MLX takes unasked."""
    own = quantization.get(path, quantization)
    if not isinstance(own, dict) or "bits" not in own:
        raise damaged(
            entry, f"module {path} has scales, and config.json does not say how many bits"
        )
    mode = own.get("mode") or AFFINE
    default_bits, default_group = MODES.get(str(mode), (None, None))
    bits, group = own.get("bits") or default_bits, own.get("group_size") or default_group
    if type(bits) is int and type(group) is int and _is_known(bits, group, mode):
        return Settings(bits, group, mode)
    raise damaged(entry, f"module {path} has {bits} bits in groups of {group}, mode {mode!r}")


def _is_known(bits: int, group: int, mode: str) -> bool:
    return bits in BITS and group in GROUPS if mode == AFFINE else MODES.get(mode) == (bits, group)


def _check_planes(
    entry: Path,
    path: str,
    settings: Settings,
    levels: TensorRef | None,
    scales: TensorRef | None,
    biases: TensorRef | None,
) -> None:
    """A row of levels fills whole words, and has as many groups as it has scales and biases."""
    affine = settings.mode == AFFINE
    if levels is None or scales is None or (biases is not None) is not affine:
        raise damaged(entry, f"module {path} lacks a plane that {settings.name} has, or has more")
    expected = FLOATS if affine else ("U8",)
    if levels.dtype != PACKED or scales.dtype not in expected:
        raise damaged(
            entry, f"module {path} has planes of {levels.dtype} and {scales.dtype}, "
            f"not {PACKED} and {' or '.join(expected)}"
        )  # fmt: skip
    if biases is not None and (biases.dtype, biases.shape) != (scales.dtype, scales.shape):
        raise damaged(entry, f"module {path} has biases that differ from its scales in shape")
    groups = scales.shape[-1] if scales.shape else 0
    words = groups * settings.group * settings.bits // 32
    if len(levels.shape) < 2 or levels.shape != (*scales.shape[:-1], words):
        raise damaged(
            entry, f"module {path} has levels {list(levels.shape)} and scales "
            f"{list(scales.shape)}, which are not {settings.name}"
        )  # fmt: skip


def _check_named(entry: Path, quantization: Mapping[str, Any], modules: list[Module]) -> None:
    """What config.json says is quantized has planes."""
    quantized = {module.path for module in modules if module.settings}
    for path, own in quantization.items():
        if path not in NOT_MODULES and isinstance(own, dict) and path not in quantized:
            raise damaged(entry, f"module {path} is quantized in config.json, and has no scales")


def damaged(path: Path, what: str) -> DamagedInput:
    return DamagedInput(f"{path}: not a sound MLX model: {what}", "fetch or make the model again")
