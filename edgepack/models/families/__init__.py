"""Families: config.json -> Decoder. One short module each, found by its `model_type`.

A family module defines `decoder(config: Config) -> Decoder`, and `GGUF`, llama.cpp's name for it.
This folder is the only place where a family has a name.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache

from edgepack.errors import Unsupported
from edgepack.models.config import Config
from edgepack.models.decoder import Decoder, GgufNaming
from edgepack.models.families.shared.keys import read_whole

DTYPE_KEYS = ("dtype", "torch_dtype")  # of transformers 5, and before


def known() -> tuple[str, ...]:
    """The `model_type` values edgepack can read: the modules of this folder."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.ispkg))


def naming(architecture: str) -> GgufNaming:
    """What is known of the models that llama.cpp calls `architecture`; for others, the name."""
    return _namings().get(architecture, GgufNaming(architecture))


def architectures() -> tuple[str, ...]:
    """What llama.cpp calls the models of known families."""
    return tuple(sorted(_namings()))


@cache
def _namings() -> Mapping[str, GgufNaming]:
    """By architecture; of families that share one the first counts, by name."""
    modules = [importlib.import_module(f"{__name__}.{name}") for name in known()]
    return {module.GGUF.architecture: module.GGUF for module in reversed(modules)}


def states_dtype(config: Config) -> bool:
    """Whether `config` says what type the model is in; if not, its Decoder is in float32."""
    return any(config.values.get(key) is not None for key in DTYPE_KEYS)


def is_quantized(config: Config) -> bool:
    """Whether the checkpoint's weights are already quantized: others than its Decoder's."""
    return bool(config.values.get("quantization_config"))


def check_precision(config: Config) -> None:
    """Raises Unsupported where the checkpoint's weights are already quantized."""
    if is_quantized(config):
        method = config.section("quantization_config").text("quant_method", "unknown")
        raise Unsupported(
            f"{config.path}: the checkpoint is already quantized ({method})",
            "start from the full-precision checkpoint",
        )


def decoder(config: Config) -> Decoder:
    """The Decoder that `config` describes; of a quantized checkpoint, what it was quantized from.

    Raises Unsupported for an unknown family and for what the family does not know, DamagedInput
    for missing or impossible values.
    """
    model_type = config.text("model_type", "")
    if model_type not in known():
        raise Unsupported(
            f"{config.path}: model_type is {model_type!r}, which edgepack does not know",
            f"known architectures: {', '.join(known())}; --to onnx takes encoders and "
            "encoder-decoder models too",
        )
    family = importlib.import_module(f"{__name__}.{model_type}")
    return read_whole(config, family.decoder)
