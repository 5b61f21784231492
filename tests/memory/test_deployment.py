import pytest

from edgepack.errors import UsageError
from edgepack.memory import CACHE_TYPES, Deployment


@pytest.mark.parametrize(
    ("name", "bits"),
    [
        ("f32", 32),
        ("f16", 16),
        ("bf16", 16),
        ("q8_0", 8.5),
        ("q5_1", 6),
        ("q5_0", 5.5),
        ("q4_1", 5),
        ("q4_0", 4.5),
    ],
)
def test_bits_per_element_count_the_scales(name, bits):
    assert CACHE_TYPES[name].row_bytes(128) * 8 == 128 * bits


def test_every_cache_type_is_covered():
    assert len(CACHE_TYPES) == 8


@pytest.mark.parametrize("field", ["context", "slots", "micro_batch"])
@pytest.mark.parametrize("value", [0, -1])
def test_counts_below_one_are_refused(field, value):
    with pytest.raises(UsageError, match=f"{field} is {value}"):
        Deployment(**({"context": 1} | {field: value}))


def test_llama_cpp_serves_256_sequences_at_most():
    assert Deployment(4096, slots=256, program="llama-server").slots == 256
    with pytest.raises(UsageError, match="slots is 257") as caught:
        Deployment(4096, slots=257)
    assert "256" in caught.value.hint


@pytest.mark.parametrize("program", ["mlx-lm", "onnxruntime-genai", "onnxruntime"])
def test_other_programs_serve_one_sequence(program):
    assert Deployment(4096, program=program).slots == 1
    with pytest.raises(UsageError, match=f"{program} serves one sequence"):
        Deployment(4096, slots=2, program=program)


@pytest.mark.parametrize("field", ["kv_type_k", "kv_type_v"])
def test_unknown_cache_type_offers_the_nearest(field):
    with pytest.raises(UsageError, match="q8_1") as caught:
        Deployment(4096, **{field: "q8_1"})
    assert "q8_0" in caught.value.hint


def test_quantized_v_needs_flash_attention():
    Deployment(4096, kv_type_k="q8_0", flash_attention=False)
    with pytest.raises(UsageError, match="flash attention") as caught:
        Deployment(4096, kv_type_v="q4_0", flash_attention=False)
    assert "f16" in caught.value.hint


@pytest.mark.parametrize(
    ("context", "slots", "unified", "cells"),
    [
        (1, 1, True, 256),
        (256, 1, True, 256),
        (257, 1, True, 512),
        (8192, 4, True, 8192),
        (8192, 4, False, 2048),
        (4000, 3, False, 1536),  # 4096 / 3 = 1365, rounded up
    ],
)
def test_cells_are_rounded_up(context, slots, unified, cells):
    assert Deployment(context, slots=slots, unified=unified).cells == cells


def test_a_server_asks_for_one_row_of_logits_per_slot():
    assert Deployment(4096, slots=4, program="llama-server").output_rows == 4
    assert Deployment(4096, slots=4).output_rows == 512
    assert Deployment(100).output_rows == 100
