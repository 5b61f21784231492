import pytest

from edgepack.errors import UsageError
from edgepack.memory import (
    CacheGroup,
    Deployment,
    Footprint,
    cache_law,
    footprint,
    kv_cache_bytes,
    state_bytes,
    weight_bytes,
)
from edgepack.quant.schemes.gguf import scheme
from edgepack.units import GB, MIB


def test_the_law_groups_equal_layers(decoders):
    assert cache_law(decoders["Llama-3.1-8B"]) == (CacheGroup(32, 1024, 1024),)


@pytest.mark.parametrize(
    ("model", "mib"),
    [
        ("Llama-3.1-8B", 4096),
        ("Qwen3-0.6B", 3584),
        ("Qwen2.5-7B", 1792),
        ("Gemma-3-27B", 3184),
        ("DeepSeek-V3", 2196),
        ("gpt-oss-20b", 786),
    ],
)
def test_published_caches_at_32k(decoders, model, mib):
    assert kv_cache_bytes(decoders[model], Deployment(32768)) == mib * MIB


def test_cache_by_hand(decoder_of):
    """2 layers, 2 heads of 64: 128 elements; K 128/32*34 = 136 bytes, V 128/32*18 = 72."""
    deployment = Deployment(300, "q8_0", "q4_0")
    assert kv_cache_bytes(decoder_of(), deployment) == 2 * 512 * (136 + 72)


def test_separate_slots_are_rounded_up_each(decoder_of):
    split = Deployment(4000, slots=3, unified=False)
    assert kv_cache_bytes(decoder_of(), split) == 2 * 3 * 1536 * 2 * 256


def test_a_window_bounds_the_cells():
    """Window x sequences that share the cache + one micro-batch, rounded up, never the context."""
    local = CacheGroup(1, 8, 8, window=1000)
    assert local.cells(Deployment(32768)) == 1536
    assert local.cells(Deployment(32768, slots=4)) == 4608
    assert local.cells(Deployment(32768, slots=4, unified=False)) == 1536
    assert local.cells(Deployment(1024)) == 1024


@pytest.mark.parametrize("deployment", [Deployment(512, "q8_0"), Deployment(512, "f16", "q4_1")])
def test_a_block_must_divide_the_head(decoder_of, deployment):
    with pytest.raises(UsageError, match="head dimension 16") as caught:
        kv_cache_bytes(decoder_of(head_dim=16), deployment)
    assert "f32, f16, bf16" in caught.value.hint


@pytest.mark.parametrize(
    ("model", "name", "low", "high"),
    [
        ("Llama-3.1-70B", "Q4_K_M", 35, 43),
        ("Llama-2-13b", "Q4_K_M", 7, 8.5),
        ("Qwen2.5-7B", "Q4_K_M", 4, 5),
        ("Mistral-7B-v0.3", "Q4_K_M", 4, 5),
        ("Llama-3.1-70B", "F16", 141, 142),
    ],
)
def test_reference_points(decoders, model, name, low, high):
    assert low * GB < weight_bytes(decoders[model], scheme(name)) < high * GB


def test_a_footprint_is_the_sum_of_its_parts(decoders):
    assert Footprint(1, 20, 300, 4000, 50000, 600000).total == 654321
    whole = footprint(decoders["Qwen3-0.6B"], scheme("Q8_0"), Deployment(32768))
    assert whole.kv == 3584 * MIB
    assert whole.state == 0
    assert whole.overhead > 28 * MIB


def test_a_projector_is_weights(decoder_of):
    alone = footprint(decoder_of(), scheme("Q8_0"), Deployment(512))
    beside = footprint(decoder_of(), scheme("Q8_0"), Deployment(512), projector_bytes=10 * MIB)
    assert beside.weights == alone.weights + 10 * MIB
    assert beside.total == alone.total + 10 * MIB


def test_windows_by_program(decoders):
    """Gemma 3 4B: 5 layers see all, 29 a window of 1,024; K and V of 4 heads of 256 in 2 bytes."""
    kept = {
        program: kv_cache_bytes(decoders["Gemma-3-4B"], Deployment(32768, program=program))
        for program in ("llama-cli", "mlx-lm", "onnxruntime-genai")
    }
    cells = {"llama-cli": 1536, "mlx-lm": 1024 + 2047, "onnxruntime-genai": 32768}
    assert kept == {p: (5 * 32768 + 29 * near) * 2 * 2 * 1024 for p, near in cells.items()}


def test_latent_attention_keeps_one_vector_in_one_type(decoders):
    decoder = decoders["DeepSeek-V3"]
    assert kv_cache_bytes(decoder, Deployment(4096, "q8_0", "q8_0")) == 61 * 4096 * 576 // 32 * 34
    with pytest.raises(UsageError, match="q8_0 for K and f16 for V"):
        kv_cache_bytes(decoder, Deployment(4096, "q8_0", "f16"))


def test_recurrent_state_is_of_sequences_not_tokens(decoders):
    """36 layers of Mamba 2 in float32: 3 convolved inputs of 4,352, a state of 128 times 4,096."""
    decoder = decoders["Granite-4.0-H-Micro"]
    one = 36 * 4 * (3 * 4352 + 128 * 4096)
    assert state_bytes(decoder, Deployment(4096)) == state_bytes(decoder, Deployment(65536)) == one
    assert state_bytes(decoder, Deployment(4096, slots=4)) == 4 * one


def test_layers_that_share_a_cache_have_none(decoders):
    """Of 30 layers the first 20 own one: 4 that see all, 16 with a window of 512."""
    groups = {group.window: group.layers for group in cache_law(decoders["Gemma-3n-E2B"])}
    assert groups == {None: 4, 512: 16}


def test_resident_memory_measured(decoder_of):
    """Peak of a llama.cpp process, F16 weights, 1024 cells, 512 tokens: 184.6 MiB, without the
    logits of all tokens. The shape: 4 layers of 256, 4 heads of 64 on 2, vocabulary 50,000."""
    decoder = decoder_of(vocabulary=50000, layers=4, qkv_bias=True)
    predicted = footprint(decoder, scheme("F16"), Deployment(1024)).total / MIB
    assert predicted == pytest.approx(184.6, rel=0.05)
