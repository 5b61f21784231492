"""ONNX schemes: their names, what they assign, and what may be asked for."""

from __future__ import annotations

import pytest

from edgepack.errors import UsageError
from edgepack.quant.schemes.onnx import FAITHFUL, SCHEMES, USUAL, at, scheme


@pytest.mark.parametrize("tied", [True, False])
def test_names_say_what_matrices_are(decoder, tied):
    made = decoder(tied=tied)
    head = "token_embd.weight" if tied else "output.weight"
    for found in FAITHFUL:
        body = found.name.removesuffix("-head8")
        for weight, encoding in ((a.weight, a.encoding.name) for a in found.assign(made)):
            if len(weight.shape) == 1 or weight.source is None:
                assert encoding == ("F16" if found.name == "F16" else "F32")
            elif weight.role == head and found.name.endswith("-head8"):
                assert encoding == body.replace("int4", "int8")
            else:
                assert encoding == body


def test_every_stored_weight_is_assigned_in_order(decoder):
    made = decoder(tied=True)
    cos, sin, *rest = (a.weight for a in SCHEMES["int4-g64"].assign(made))
    assert tuple(rest) == made.weights
    assert cos.shape == sin.shape == (made.context_length, made.layers[0].attention.head_dim // 2)


def test_a_computed_weight_is_not_stored(decoder):
    from dataclasses import replace

    from edgepack.models.decoder import Weight

    made = decoder()
    wider = replace(made, weights=(*made.weights, Weight("rope_freqs.weight", None, (16,), None)))
    assert SCHEMES["F32"].assign(wider) == SCHEMES["F32"].assign(made)


def test_more_faithful_schemes_have_no_fewer_bits():
    bits = [found.bits for found in FAITHFUL]
    assert bits == sorted(bits, reverse=True)
    assert set(USUAL) <= set(FAITHFUL)


@pytest.mark.parametrize("name", ["int4-g32", "INT4-G32", "Int8-g128-asym", "f16"])
def test_a_scheme_is_found_in_any_case(name):
    assert scheme(name).name.lower() == name.lower()


def test_an_unknown_scheme_has_a_near_match():
    with pytest.raises(UsageError, match="unknown scheme 'int4-g33'") as caught:
        scheme("int4-g33")
    assert "int4-g32" in caught.value.hint


@pytest.mark.parametrize(
    ("bits", "group", "name"),
    [
        (4, None, "int4-g32-asym-head8"),
        (4, 128, "int4-g128-asym-head8"),
        (8, None, "int8-g32"),
        (8, 64, "int8-g64"),
        (16, None, "F16"),
        (32, None, "F32"),
    ],
)
def test_bits_and_group_name_a_scheme(bits, group, name):
    assert at(bits, group).name == name


@pytest.mark.parametrize(("bits", "group"), [(5, None), (2, 32), (4, 16), (8, 256), (16, 32)])
def test_what_onnx_does_not_have_is_refused(bits, group):
    with pytest.raises(UsageError, match="onnx has no"):
        at(bits, group)


def test_plain_leaves_the_search_out_and_keeps_the_name():
    for found in (scheme("int4-g32", plain=True), at(4, 32, plain=True), at(8, plain=True)):
        assert not found.matrices.search
        assert not found.head.search
        assert found.matrices.name in found.name
    assert scheme("F16", plain=True) == SCHEMES["F16"]
