"""Group encodings against MLX itself, bit for bit, and the search against plain rounding."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgepack.errors import DamagedInput, Unsupported
from edgepack.quant.groups import BITS, GROUPS, group_affine, mxfp4

if sys.platform == "win32":
    pytest.skip("MLX has no wheels for Windows", allow_module_level=True)

import mlx.core as mx

DTYPES = {"F32": mx.float32, "F16": mx.float16, "BF16": mx.bfloat16}
COLUMNS = 256


def planes_of(arrays):
    """mx arrays as rows of bytes."""
    return [np.array(a if a.dtype == mx.uint8 else a.view(mx.uint8)) for a in arrays]


def in_dtype(rows, dtype):
    """The rows as an mx array of `dtype`, and as float32 of the same values."""
    array = mx.array(np.ascontiguousarray(rows, np.float32)).astype(DTYPES[dtype])
    return array, np.array(array.astype(mx.float32))


def hard_rows():
    """Groups of every kind: spread over many scales, constant, zero, one-sided, with outliers."""
    rng = np.random.default_rng(0)
    shape = (4, COLUMNS)
    parts = [rng.normal(0, scale, shape) for scale in (1e-12, 1e-7, 1e-4, 0.02, 1, 1e3)]
    parts += [np.full((1, COLUMNS), value) for value in (0.0, -0.0, 0.3, -0.3, 6e4)]
    parts += [np.abs(rng.normal(0, 1, shape)), -np.abs(rng.normal(0, 1, shape))]
    parts += [5 + rng.normal(0, 0.01, shape), rng.choice([-1.0, 0.0, 1.0], shape)]
    parts += [0.02 * rng.standard_t(2, shape), rng.uniform(-2e-7, 2e-7, shape)]
    parts += [np.where(rng.random(shape) < 0.01, 100, 0.01)]
    return np.concatenate(parts)


def squared_error(encoding, planes, rows):
    """Per group, in float64."""
    error = encoding.decode(planes, rows.shape[1]).astype(np.float64) - rows
    return np.square(error).reshape(-1, encoding.block).sum(1)


def counted_error(encoding, planes, rows):
    """As `squared_error`, every element counting rms + |x|: what the search makes small."""
    groups = rows.astype(np.float64).reshape(-1, encoding.block)
    counts = np.sqrt(np.square(groups).mean(1, keepdims=True)) + np.abs(groups)
    error = encoding.decode(planes, rows.shape[1]).astype(np.float64).reshape(groups.shape)
    return (counts * np.square(error - groups)).sum(1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("bits", BITS)
def test_plain_rounding_gives_the_bits_of_mx_quantize(bits, group, dtype):
    array, rows = in_dtype(hard_rows(), dtype)
    encoding = group_affine(bits, group, dtype, plain=True)
    theirs = planes_of(mx.quantize(array, group, bits))
    ours = encoding.encode(rows)
    for name, mine, other in zip(("weight", "scales", "biases"), ours, theirs, strict=True):
        np.testing.assert_array_equal(mine, other, err_msg=name)
    assert [p.row_bytes for p in encoding.planes(COLUMNS)] == [p.shape[1] for p in theirs]
    assert encoding.tensor_bytes(rows.shape) == sum(plane.nbytes for plane in theirs)


@settings(max_examples=50, deadline=None)
@given(
    rows=hnp.arrays(np.float32, (2, 128), elements=st.floats(-6e4, 6e4, width=32)),
    bits=st.sampled_from(BITS),
    group=st.sampled_from(GROUPS),
    dtype=st.sampled_from(list(DTYPES)),
)
def test_plain_and_search_on_anything_finite(rows, bits, group, dtype):
    array, rows = in_dtype(rows, dtype)
    plain, search = (group_affine(bits, group, dtype, plain=p) for p in (True, False))
    rounded, found = plain.encode(rows), search.encode(rows)
    for mine, other in zip(rounded, planes_of(mx.quantize(array, group, bits)), strict=True):
        np.testing.assert_array_equal(mine, other)
    before, after = counted_error(plain, rounded, rows), counted_error(search, found, rows)
    # Both are summed in float32 when they are judged.
    assert (after <= before * (1 + 1e-4) + 1e-12).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bits", BITS)
def test_decoding_is_mx_dequantize(bits, dtype):
    array, _ = in_dtype(hard_rows(), dtype)
    levels, scales, biases = mx.quantize(array, 64, bits)
    wide = scales.astype(mx.float32), biases.astype(mx.float32)
    expected = np.array(mx.dequantize(levels, *wide, 64, bits))
    planes = planes_of((levels, scales, biases))
    decoded = group_affine(bits, 64, dtype).decode(planes, COLUMNS)
    np.testing.assert_allclose(decoded, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize(("bits", "most"), [(2, 0.75), (3, 0.8), (4, 0.85), (6, 0.9), (8, 0.7)])
def test_the_search_takes_error_away(bits, most):
    """On bell-shaped weights, what is left of plain rounding's error."""
    _, rows = in_dtype(np.random.default_rng(1).normal(0, 0.02, (64, 512)), "BF16")
    plain, search = (group_affine(bits, 64, "BF16", plain=p) for p in (True, False))
    before, after = (counted_error(e, e.encode(rows), rows) for e in (plain, search))
    assert (after <= before * (1 + 1e-5)).all()
    assert after.sum() < most * before.sum()


@pytest.mark.parametrize("scale", [1e-40, 1e-25, 1e25, 1e38])
def test_errors_that_underflow_or_overflow_leave_plain_rounding(scale):
    """Their squares are 0 or infinite in float32; the weights themselves are fine."""
    rows = (scale * np.random.default_rng(3).uniform(-1, 1, (3, 64))).astype(np.float32)
    assert np.abs(rows).max() < group_affine(4, 64, "F32").largest
    plain, search = (group_affine(4, 64, "F32", plain=p) for p in (True, False))
    decoded = search.decode(search.encode(rows), 64)
    np.testing.assert_array_equal(decoded, plain.decode(plain.encode(rows), 64))


def test_a_group_has_the_same_bits_wherever_it_lies():
    """Tiles, and their last lanes, do not show."""
    rows = np.random.default_rng(2).normal(0, 1, (150, 64)).astype(np.float32)
    encoding = group_affine(4, 64, "F16")
    whole = encoding.encode(rows)
    for start, stop in ((0, 1), (63, 66), (149, 150)):
        for part, plane in zip(encoding.encode(rows[start:stop]), whole, strict=True):
            np.testing.assert_array_equal(part, plane[start:stop])


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_mxfp4_for_every_possible_peak(dtype):
    """Every positive finite number of the type as a group's peak, above what is subnormal."""
    top, least = (0x7C00, 0) if dtype == "F16" else (0x7F80, 0x0200)
    peaks = mx.array(np.arange(least, top, dtype=np.uint16)).view(DTYPES[dtype])
    filled = mx.concatenate([peaks[:, None], mx.zeros((peaks.size, 31), DTYPES[dtype])], axis=1)
    ours = mxfp4(dtype, plain=True).encode(np.array(filled.astype(mx.float32)))
    for mine, other in zip(ours, planes_of(mx.quantize(filled, mode="mxfp4")), strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("dtype", DTYPES)
def test_mxfp4_rounds_and_decodes_as_mx_does(dtype):
    array, rows = in_dtype(hard_rows()[4:], dtype)  # without 1e-12, whose exponents mx wraps
    encoding = mxfp4(dtype, plain=True)
    arrays = mx.quantize(array, mode="mxfp4")
    planes = planes_of(arrays)
    for mine, other in zip(encoding.encode(rows), planes, strict=True):
        np.testing.assert_array_equal(mine, other)
    expected = np.array(mx.dequantize(*arrays, mode="mxfp4").astype(mx.float32))
    np.testing.assert_array_equal(encoding.decode(planes, COLUMNS), expected)
    found = mxfp4(dtype).encode(rows)
    before, after = (squared_error(encoding, p, rows) for p in (planes, found))
    assert (after <= before * (1 + 1e-5)).all()
    assert after.sum() < before.sum()


def test_rows_that_are_not_whole_groups_are_refused():
    for encoding in (group_affine(4, 64, "BF16"), mxfp4("BF16")):
        with pytest.raises(Unsupported, match=f"blocks of {encoding.block}"):
            encoding.encode(np.zeros((1, 80), np.float32))


def test_planes_of_other_lengths_are_damaged():
    for encoding in (group_affine(4, 64, "BF16"), mxfp4("BF16")):
        planes = encoding.encode(np.ones((2, 128), np.float32))
        for wrong in (planes[:1], (planes[0][:, 1:], *planes[1:]), (planes[0][:1], *planes[1:])):
            with pytest.raises(DamagedInput, match="has rows of"):
                encoding.decode(wrong, 128)
