"""Layers one by one add up to the whole."""

from dataclasses import replace

import pytest

from edgepack.errors import UsageError
from edgepack.memory import (
    Deployment,
    kv_cache_bytes,
    layer_bytes,
    outer_bytes,
    state_bytes,
    weight_bytes,
)
from edgepack.models.decoder import NO_ATTENTION, Layer, Recurrence, Weight
from edgepack.quant.schemes.gguf import scheme

SETTINGS = (
    Deployment(4096),
    Deployment(32768, "q8_0", "q4_0"),
    Deployment(16384, slots=4),
    Deployment(4000, slots=3, unified=False),
)


@pytest.fixture
def mixed(decoder_of):
    """Layers of four kinds: full, windowed with experts, without a cache of its own, recurrent."""
    plain = decoder_of(layers=4)
    full = plain.layers[0]
    attention = full.attention
    layers = (
        full,
        replace(full, attention=replace(attention, window=1000)),
        replace(full, attention=replace(attention, owns_cache=False)),
        Layer(NO_ATTENTION, full.feed_forward, Recurrence("mamba2", 512, 1000, 5000)),
    )
    experts = Weight("ffn_up_exps.weight", 1, (8, 512, 256), "experts")
    return replace(plain, layers=layers, weights=(*plain.weights, experts))


@pytest.mark.parametrize("deployment", SETTINGS)
def test_layers_and_the_rest_are_the_whole(mixed, deployment):
    chosen = scheme("Q4_K_M")
    layers, outer = layer_bytes(mixed, chosen, deployment), outer_bytes(mixed, chosen)
    weights = sum(layer.weights + layer.experts for layer in layers) + outer.total
    assert weights == weight_bytes(mixed, chosen)
    assert sum(layer.kv for layer in layers) == kv_cache_bytes(mixed, deployment)
    assert sum(layer.state for layer in layers) == state_bytes(mixed, deployment)
    assert sum(layer.total for layer in layers) + outer.total == (
        weights + kv_cache_bytes(mixed, deployment) + state_bytes(mixed, deployment)
    )


def test_each_kind_of_layer(mixed):
    full, windowed, sharing, recurrent = layer_bytes(
        mixed, scheme("F16"), Deployment(4096, slots=2)
    )
    assert full.kv == 4096 * 2 * 2 * 128
    assert windowed.kv == 2560 * 2 * 2 * 128  # 2 windows of 1000 and 512 tokens, rounded up
    assert sharing.kv == recurrent.kv == 0
    assert recurrent.state == 2 * 4 * 6000
    assert full.state == full.experts == 0
    assert windowed.experts == 2 * 8 * 512 * 256


def test_a_tied_embedding_is_what_an_accelerator_copies(decoders):
    tied = outer_bytes(decoders["Qwen3-0.6B"], scheme("F16"))
    assert tied.tied == tied.embeddings == 2 * 151936 * 1024
    assert tied.head == 4 * 1024
    untied = outer_bytes(decoders["Qwen3-8B"], scheme("F16"))
    assert untied.tied == 0
    assert untied.head == 2 * 151936 * 4096 + 4 * 4096


def test_a_cache_type_that_no_head_takes(decoder_of):
    with pytest.raises(UsageError, match="head dimension 16"):
        layer_bytes(decoder_of(head_dim=16), scheme("F16"), Deployment(4096, "q8_0"))
