"""Decoders and devices made by hand, and the planner's figures."""

import json
from functools import cache
from pathlib import Path

import pytest

from edgepack.hardware import Accelerator, Cpu, Figure, Hardware
from edgepack.models import catalogue, families
from edgepack.models.config import Config
from edgepack.models.decoder import (
    Attention,
    Decoder,
    FeedForward,
    GgufNaming,
    Layer,
    Rope,
    Weight,
)

GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden" / "memory.json"


def _weights(shape):
    width, feed_forward = shape["width"], shape["feed_forward"]
    q, kv = shape["heads"] * shape["head_dim"], shape["kv_heads"] * shape["head_dim"]
    yield "token_embd.weight", None, (shape["vocabulary"], width)
    yield "output_norm.weight", None, (width,)
    if not shape["tied"]:
        yield "output.weight", None, (shape["vocabulary"], width)
    for layer in range(shape["layers"]):
        yield "attn_norm.weight", layer, (width,)
        yield "attn_q.weight", layer, (q, width)
        yield "attn_k.weight", layer, (kv, width)
        yield "attn_v.weight", layer, (kv, width)
        yield "attn_output.weight", layer, (width, q)
        yield "ffn_norm.weight", layer, (width,)
        yield "ffn_gate.weight", layer, (feed_forward, width)
        yield "ffn_up.weight", layer, (feed_forward, width)
        yield "ffn_down.weight", layer, (width, feed_forward)
        if shape["qkv_bias"]:
            yield "attn_q.bias", layer, (q,)
            yield "attn_k.bias", layer, (kv,)
            yield "attn_v.bias", layer, (kv,)
        if shape["qk_norm"]:
            yield "attn_q_norm.weight", layer, (shape["head_dim"],)
            yield "attn_k_norm.weight", layer, (shape["head_dim"],)


def _decoder(shape):
    rope = Rope(10000.0, shape["head_dim"])
    attention = Attention(shape["heads"], shape["kv_heads"], shape["head_dim"], rope)
    layer = Layer(attention, FeedForward(shape["feed_forward"]))
    return Decoder(
        vocabulary=shape["vocabulary"],
        width=shape["width"],
        context_length=shape["context_length"],
        layers=(layer,) * shape["layers"],
        norm_epsilon=1e-6,
        tied_embeddings=shape["tied"],
        weights=tuple(
            Weight(role, layer, extent, source=f"{layer}.{role}")
            for role, layer, extent in _weights(shape)
        ),
        gguf=GgufNaming(shape["architecture"]),
    )


@pytest.fixture(scope="session")
def golden():
    """The planner's figures: (models, each with its Decoder; settings)."""
    figures = json.loads(GOLDEN.read_text())
    configs = {model["name"]: model["config"] for model in figures["models"]}

    def decoder(name):
        if configs[name] is None:
            return catalogue.entry(name).decoder
        return families.decoder(Config(Path(name), configs[name]))

    return [model | {"decoder": decoder(model["name"])} for model in figures["models"]], figures[
        "settings"
    ]


class _Catalogue:
    @cache  # noqa: B019  # as long as the tests run
    def __getitem__(self, name):
        return catalogue.entry(name).decoder


@pytest.fixture(scope="session")
def decoders():
    """Decoders by the catalogue's names."""
    return _Catalogue()


@pytest.fixture(scope="session")
def decoder_of():
    """A function from a shape to a Decoder, for shapes nobody published."""
    small = {
        "architecture": "llama",
        "vocabulary": 1000,
        "width": 256,
        "feed_forward": 768,
        "layers": 2,
        "heads": 4,
        "kv_heads": 2,
        "head_dim": 64,
        "context_length": 2048,
        "tied": True,
        "qkv_bias": False,
        "qk_norm": False,
    }
    return lambda **changes: _decoder(small | changes)


def _card(memory, bandwidth):
    known, rate = Figure(memory, "profile"), Figure(bandwidth, "profile")
    return Accelerator("test card", "nvidia", known, known, rate, unified=False)


@pytest.fixture(scope="session")
def device():
    """A function from bytes of memory and bytes/s of bandwidth to a Hardware, with a GPU where
    one's memory and bandwidth are given."""

    def make(memory, bandwidth=None, *, origin="profile", gpu=None):
        unknown = Figure(None, "unknown")
        return Hardware(
            name="test device",
            cpu=Cpu(unknown, (), unknown),
            memory=Figure(memory, origin),
            available=Figure(memory, origin if memory is not None else "unknown"),
            bandwidth=Figure(bandwidth, origin) if bandwidth else unknown,
            accelerators=(_card(*gpu),) if gpu else (),
            unified_memory=False,
            disk_free=unknown,
        )

    return make
