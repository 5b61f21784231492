"""Rotary facts of a config, in the spelling of transformers 5 and in that before it."""

from __future__ import annotations

from math import log, sqrt
from typing import Literal

from edgepack.errors import DamagedInput, Unsupported
from edgepack.models.config import Config
from edgepack.models.decoder import Rope, RopeScaling

NAMES = """
    rope_type type rope_theta partial_rotary_factor factor original_max_position_embeddings
    low_freq_factor high_freq_factor beta_fast beta_slow attention_factor mscale mscale_all_dim
    truncate short_factor long_factor
    """
KNOWN = frozenset(NAMES.split())
"""Keys of a rotary section; any other may change the angles."""

LayerKind = Literal["full_attention", "sliding_attention"]


def rope(
    config: Config,
    head_dim: int,
    *,
    kind: LayerKind | None = None,
    base: float = 10000.0,
    partial: float | None = None,
    neighbours: bool = False,
) -> Rope:
    """Rotary facts from `rope_parameters` (transformers 5) or `rope_theta` + `rope_scaling`.

    `kind`: the section of that kind of layer, where the config has one for each. `base` and
    `partial` are what the family takes where the config says nothing; a family without `partial`
    rotates whole heads. Raises DamagedInput or
    Unsupported naming the key.
    """
    section = rotary_section(config, kind)
    part = section.number(
        "partial_rotary_factor", config.number("partial_rotary_factor", partial or 1.0)
    )
    if part != 1 and (partial is None or part > 1):
        raise Unsupported(
            f"{config.path}: partial_rotary_factor is {part}",
            "supported: 1, whole heads rotated" if partial is None else "supported: at most 1",
        )
    dimensions = int(head_dim * part)
    if dimensions % 2 or not dimensions:
        raise DamagedInput(
            f"{config.path}: {dimensions} rotated elements of head size {head_dim}",
            "rotated pairs need two",
        )
    theta = section.number("rope_theta", config.number("rope_theta", base))
    return Rope(theta, dimensions, _scaling(config, section, dimensions), neighbours)


def local_rope(config: Config, head_dim: int) -> Rope:
    """Gemma 3's of windowed layers: a base of its own, never scaled before transformers 5."""
    base = config.number("rope_local_base_freq", 10000.0)
    if any(isinstance(value, dict) for value in config.section("rope_parameters").values.values()):
        return rope(config, head_dim, kind="sliding_attention", base=base)
    return Rope(base, head_dim)


def rotary_section(config: Config, kind: LayerKind | None = None) -> Config:
    """The object that describes the rotary embedding (of layers of that `kind`), or an empty one.

    Raises Unsupported where it differs by kinds that the family does not tell apart, and for keys
    that edgepack does not know.
    """
    section = config.section("rope_parameters")
    if not section.values:
        section = config.section("rope_scaling")
    if any(isinstance(value, dict) for value in section.values.values()):
        if kind is None:
            raise Unsupported(
                f"{config.path}: rotary embedding differs by kind of layer",
                "supported: one rotary embedding for all layers",
            )
        section = section.section(kind)
    unknown = sorted(key for key in section.values if key not in KNOWN)
    if unknown:
        raise Unsupported(
            f"{config.path}: {unknown[0]} of the rotary embedding is "
            f"{section.values[unknown[0]]!r}",
            f"supported: {', '.join(sorted(KNOWN))}",
        )
    return section


def yarn_scale(section: Config) -> float:
    """What YaRN with `mscale_all_dim` multiplies attention scores by (DeepSeek-V2's own code)."""
    if _kind(section) != "yarn":
        return 1.0
    return _magnitude(section.number("factor"), _optional(section, "mscale_all_dim") or 0.0) ** 2


def _scaling(config: Config, section: Config, dimensions: int) -> RopeScaling | None:
    kind = _kind(section)
    if kind == "default":
        return None
    if kind == "linear":
        return RopeScaling("linear", section.number("factor"))
    if kind == "llama3":
        return RopeScaling(
            "llama3",
            section.number("factor"),
            section.integer("original_max_position_embeddings"),
            section.number("low_freq_factor"),
            section.number("high_freq_factor"),
        )
    if kind == "yarn":
        return _yarn(config, section)
    if kind in ("longrope", "su"):  # its name before transformers had it
        return _longrope(config, section, dimensions)
    raise Unsupported(
        f"{config.path}: rotary scaling {kind!r}",
        "supported: default, linear, llama3, yarn, longrope",
    )


def _kind(section: Config) -> str:
    return section.text("rope_type", section.text("type", "default"))


def _yarn(config: Config, section: Config) -> RopeScaling:
    """Peng et al. 2023; `mscale` as in DeepSeek-V2, `truncate` as in gpt-oss."""
    factor, attention = section.number("factor"), _optional(section, "attention_factor")
    if attention is None:
        top, bottom = _optional(section, "mscale"), _optional(section, "mscale_all_dim")
        attention = _magnitude(factor, 1.0)
        if top and bottom:
            attention = _magnitude(factor, top) / _magnitude(factor, bottom)
    return RopeScaling(
        "yarn",
        factor,
        section.optional_integer("original_max_position_embeddings")
        or config.integer("max_position_embeddings"),
        beta_fast=section.number("beta_fast", 32.0),
        beta_slow=section.number("beta_slow", 1.0),
        attention_factor=attention,
        truncate=section.flag("truncate", True),
    )


def _longrope(config: Config, section: Config, dimensions: int) -> RopeScaling:
    """Ding et al. 2024, with Phi-3's attention factor: sqrt(1 + ln(factor) / ln(original))."""
    longest = config.integer("max_position_embeddings")
    original = (
        config.optional_integer("original_max_position_embeddings")
        or section.optional_integer("original_max_position_embeddings")
        or longest
    )
    factor, attention = longest / original, _optional(section, "attention_factor")
    if original == longest:
        factor = section.number("factor", 1.0)
    if attention is None:
        attention = sqrt(1 + log(factor) / log(original)) if factor > 1 and original > 1 else 1.0
    return RopeScaling(
        "longrope",
        factor,
        original,
        attention_factor=attention,
        short=_divisors(section, "short_factor", dimensions // 2),
        long=_divisors(section, "long_factor", dimensions // 2),
    )


def _divisors(section: Config, key: str, pairs: int) -> tuple[float, ...]:
    found = section.values.get(key)
    if not isinstance(found, list) or len(found) != pairs:
        length = len(found) if isinstance(found, list) else "no"
        raise DamagedInput(
            f"{section.path}: {key} has {length} elements",
            f"it must be an array of {pairs}, one for each rotated pair",
        )
    each = (Config(section.path, {key: value}).number(key) for value in found)
    return tuple(each)


def _magnitude(factor: float, weight: float) -> float:
    return 0.1 * weight * log(factor) + 1.0 if factor > 1 else 1.0


def _optional(section: Config, key: str) -> float | None:
    """A positive number, or None where it is absent, null or 0."""
    return section.number(key) if section.values.get(key) else None
