"""MLX's schemes: names, bits and groups, and which module gets what."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgepack.errors import UsageError
from edgepack.quant.schemes import mlx


@pytest.mark.parametrize("scheme", mlx.FAITHFUL, ids=lambda scheme: scheme.name)
def test_a_scheme_is_found_by_its_name_in_any_case(scheme):
    assert mlx.scheme(scheme.name.swapcase()) == scheme
    assert mlx.scheme(scheme.name, plain=True) == replace(scheme, plain=True)


def test_an_unknown_name_has_a_near_match():
    with pytest.raises(UsageError, match="unknown scheme 'mixed_3_7'") as caught:
        mlx.scheme("mixed_3_7")
    assert "mixed_3_6" in caught.value.hint


def test_faithful_ones_come_first():
    bits = [scheme.bits for scheme in mlx.FAITHFUL]
    assert bits == sorted(bits, reverse=True)
    assert [scheme.name for scheme in mlx.USUAL][:2] == ["BF16", "8bit-g64"]


@pytest.mark.parametrize(
    ("bits", "group", "name"),
    [(4, None, "4bit-g64"), (3, 32, "3bit-g32"), (8, 128, "8bit-g128"), (16, None, "BF16")],
)
def test_by_bits_and_group(bits, group, name):
    assert mlx.at(bits, group).name == name
    assert mlx.at(bits, group, plain=True).plain


@pytest.mark.parametrize(
    ("bits", "group", "found"),
    [(7, None, "7 bits"), (4, 48, "groups of 48"), (16, 64, "no groups")],
)
def test_what_mlx_has_not(bits, group, found):
    with pytest.raises(UsageError, match=found):
        mlx.at(bits, group)


def test_every_matrix_is_quantized_and_nothing_else(decoder):
    model = replace(decoder(), dtype="BF16")
    assigned = mlx.scheme("4bit-g64").assign(model)
    assert [a.weight for a in assigned] == list(model.weights)
    for assignment in assigned:
        matrix = len(assignment.weight.shape) == 2
        assert assignment.encoding.name == ("4bit-g64" if matrix else "BF16")


def test_rows_that_are_not_whole_groups_stay_floats(decoder):
    """As mlx_lm has it: groups of 128 do not divide 192."""
    model = replace(decoder(ffn=192), dtype="F16")
    names = {a.weight.role: a.encoding.name for a in mlx.scheme("4bit-g128").assign(model)}
    assert names["ffn_down.weight"] == "F16"
    assert names["ffn_up.weight"] == "4bit-g128"


def test_a_float_scheme_gives_all_weights_its_type(decoder):
    assert {a.encoding.name for a in mlx.scheme("F16").assign(decoder())} == {"F16"}


def test_weights_that_no_checkpoint_stores_are_left_out(decoder):
    model = decoder()
    weights = (*model.weights, replace(model.weights[0], role="rope_freqs.weight", source=None))
    assigned = mlx.scheme("BF16").assign(replace(model, weights=weights))
    assert len(assigned) == len(model.weights)


@pytest.mark.parametrize(
    ("path", "bits"),
    [
        ("lm_head", 6),
        ("model.embed_tokens", 3),
        ("model.layers.0.self_attn.v_proj", 6),
        ("model.layers.0.self_attn.q_proj", 3),
        ("model.layers.1.self_attn.v_proj", 3),
        ("model.layers.3.mlp.down_proj", 6),
        ("model.layers.4.mlp.down_proj", 3),
        ("model.layers.7.mlp.down_proj", 6),
    ],
)
def test_a_recipe_gives_more_bits_where_they_matter(path, bits):
    """Of eight layers the first, the last, and 3 and 6."""
    assert mlx.module_bits("mixed_3_6", path, 8) == bits
