"""Which weight gets which encoding: names, order, and rules worked out by hand."""

from __future__ import annotations

import pytest

from edgepack.errors import UsageError
from edgepack.quant.schemes.gguf import FAITHFUL, SCHEMES, SPECIAL, USUAL, scheme
from edgepack.quant.schemes.mix import overridden
from edgepack.quant.schemes.overrides import NONE


def chosen(decoder, name, role):
    """Encoding names of `role`, by layer."""
    return [
        a.encoding.name for a in scheme(name).assign(decoder) if a.weight.role == f"{role}.weight"
    ]


def test_names_have_no_case_and_near_matches():
    assert scheme("q4_k_m") is SCHEMES["Q4_K_M"]
    with pytest.raises(UsageError) as caught:
        scheme("Q4_KM")
    assert caught.value.exit_code == 2
    assert "'Q4_K_M'" in caught.value.hint


def test_faithful_order_is_complete_and_never_gains_nominal_bits_among_k_schemes():
    names = [s.name for s in FAITHFUL]
    assert sorted(names + [s.name for s in SPECIAL]) == sorted(SCHEMES)
    assert set(USUAL) <= set(FAITHFUL)
    asked = [
        "F32",
        "BF16",
        "F16",
        "Q8_0",
        "Q6_K",
        "Q5_K_M",
        "Q5_K_S",
        "Q4_K_M",
        "Q4_K_S",
        "Q4_0",
        "Q3_K_M",
        "Q2_K",
    ]
    assert [n for n in names if n in asked] == asked
    bits = [s.bits for s in FAITHFUL if "_K" in s.name]
    assert bits == sorted(bits, reverse=True)


def test_assignments_follow_the_order_of_the_weights(decoder):
    model = decoder(layers=3)
    for s in FAITHFUL:
        assert tuple(a.weight for a in s.assign(model)) == model.weights


@pytest.mark.parametrize("name", SCHEMES)
def test_norms_and_biases_are_always_f32(decoder, name):
    for assignment in scheme(name).assign(decoder()):
        if len(assignment.weight.shape) == 1:
            assert assignment.encoding.name == "F32"


@pytest.mark.parametrize("name", ["F32", "F16", "BF16", "Q8_0"])
def test_uniform_schemes_treat_all_matrices_alike(decoder, name):
    matrices = [a for a in scheme(name).assign(decoder()) if len(a.weight.shape) == 2]
    assert {a.encoding.name for a in matrices} == {name}


def test_q4_k_m_of_twelve_layers(decoder):
    # 12 // 8 = 1: layer 0, layers from 7 * 12 // 8 = 10, and between them (i - 1) % 3 == 2
    model = decoder(layers=12)
    high = {0, 3, 6, 9, 10, 11}
    expected = ["Q6_K" if i in high else "Q4_K" for i in range(12)]
    assert chosen(model, "Q4_K_M", "attn_v") == expected
    assert chosen(model, "Q4_K_M", "ffn_down") == expected
    assert chosen(model, "Q4_K_M", "attn_q") == ["Q4_K"] * 12


def test_the_head_is_the_embedding_where_tied(decoder):
    assert chosen(decoder(tied=True), "Q4_K_M", "token_embd") == ["Q6_K"]
    assert chosen(decoder(tied=False), "Q4_K_M", "token_embd") == ["Q4_K"]
    assert chosen(decoder(tied=False), "Q4_K_M", "output") == ["Q6_K"]


def test_q2_k_spares_v_that_four_heads_share(decoder):
    assert chosen(decoder(heads=4, kv_heads=1), "Q2_K", "attn_v") == ["Q4_K"] * 2
    assert chosen(decoder(heads=4, kv_heads=2), "Q2_K", "attn_v") == ["Q3_K"] * 2


def test_q3_k_m_of_sixteen_layers(decoder):
    model = decoder(layers=16)
    assert chosen(model, "Q3_K_M", "ffn_down") == ["Q5_K"] + ["Q4_K"] * 15
    assert chosen(model, "Q3_K_M", "attn_v") == ["Q5_K"] * 2 + ["Q4_K"] * 14
    assert chosen(model, "Q3_K_M", "attn_output") == ["Q4_K"] * 16


@pytest.mark.parametrize(
    ("name", "columns", "encoding"),
    [
        ("Q2_K", 320, "Q4_0"),
        ("Q3_K_S", 320, "Q4_0"),
        ("Q4_K_S", 320, "Q5_0"),
        ("Q5_K_S", 320, "Q5_1"),
        ("Q6_K", 320, "Q8_0"),
        ("IQ4_XS", 320, "IQ4_NL"),
        ("IQ2_XS", 320, "IQ4_NL"),
        ("TQ1_0", 320, "Q4_0"),
        ("TQ2_0", 320, "Q4_0"),
        ("MXFP4_MOE", 320, "Q8_0"),
        ("IQ4_NL", 40, "F16"),
        ("Q4_K_S", 40, "F16"),
        ("Q8_0", 40, "F16"),
    ],
)
def test_rows_that_blocks_do_not_divide(decoder, name, columns, encoding):
    assert chosen(decoder(width=columns), name, "attn_q") == [encoding] * 2


def test_stored_bytes(decoder):
    sizes = {a.weight.role: a.stored_bytes for a in scheme("Q4_K_S").assign(decoder(layers=1))}
    assert sizes["attn_q.weight"] == 4 * 144
    assert sizes["ffn_down.weight"] == 4 * 2 * 144
    assert sizes["output.weight"] == 16 * 210
    assert sizes["attn_norm.weight"] == 8 * 4


def test_four_bit_schemes_spare_the_first_layers_unless_they_were_measured(decoder):
    model = decoder(layers=16, heads=4, kv_heads=2)
    down = {name: chosen(model, name, "ffn_down")[:3] for name in ("Q4_0", "Q5_0", "IQ4_XS")}
    assert down == {"Q4_0": ["Q4_0"] * 3, "Q5_0": ["Q5_0"] * 3, "IQ4_XS": ["Q5_K"] * 2 + ["IQ4_XS"]}
    measured = {
        name: [
            a.encoding.name
            for a in overridden(scheme(name), NONE, measured=True).assign(model)
            if a.weight.role == "ffn_down.weight"
        ][:3]
        for name in down
    }
    assert measured == {
        "Q4_0": ["Q4_1"] * 2 + ["Q4_0"],
        "Q5_0": ["Q5_1"] * 2 + ["Q5_0"],
        "IQ4_XS": ["IQ4_XS"] * 3,
    }


@pytest.mark.parametrize(
    ("name", "needed"),
    [("Q2_K", False), ("Q2_K_S", True), ("IQ2_XS", True), ("IQ3_XXS", True), ("IQ3_S", False)],
)
def test_what_needs_a_matrix_of_importance(decoder, name, needed):
    found = scheme(name)
    asked = [found.needs_importance(a.weight, a.encoding.name) for a in found.assign(decoder())]
    assert any(asked) == needed
    assert not asked[0]  # the embedding has no columns that anything multiplies
