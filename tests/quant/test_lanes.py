"""Sixteen lanes against numpy, where the kernels' tests would not tell which function is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from edgepack.quant.encodings import ENCODINGS
from edgepack.quant.kernels import lane_tiles, lanes
from edgepack.quant.kernels.compiler import BYTES, FLOATS, READ_FLOATS, kernel

ODD = np.array(
    [0, -0.0, 0.5, -0.5, 1.5, 2.5, -2.5, 254.5, 255, -1, -128, 3e9, -3e9, 1e-45, 4194303, -4194303],
    np.float32,
)


@kernel(READ_FLOATS, READ_FLOATS, FLOATS, BYTES)
def apply(a, b, out, packed):
    x, y = lanes.get(a[0], 0), lanes.get(b[0], 0)
    lanes.put(out[0], 0, lanes.floor(x))
    lanes.put(out[1], 0, lanes.nearest(x))
    lanes.put(out[2], 0, lanes.square_root(lanes.magnitude(x)))
    lanes.put(out[3], 0, lanes.select((x < y) & ~lanes.equal(x, np.float32(0)), -x, y))
    lanes.put(out[4], 0, lane_tiles.byte(lanes.floor(y)))
    lanes.put(out[5], 0, lane_tiles.signed_byte(lanes.floor(y)))
    out[6, 0] = lanes.least(x)
    out[6, 1] = lanes.greatest(x)
    out[6, 2] = lanes.lanes_set(x > y)
    lanes.put_bytes(packed[0], 0, lanes.floor(y))
    lanes.put(out[7], 0, lanes.get_bytes(packed[0], 0))
    lanes.put(out[8], 0, lanes.rounded_to_even(x))
    lanes.put(out[9], 0, lanes.rounded_to_brain(x + y))


@pytest.fixture(scope="module")
def results():
    x, y = ODD[None], np.linspace(-300, 300, 16, dtype=np.float32)[None]
    out, packed = np.zeros((10, 16), np.float32), np.zeros((1, 16), np.uint8)
    apply(x, y, out, packed)
    return x[0], y[0], out, packed[0]


def test_elementwise(results):
    x, y, out, _ = results
    np.testing.assert_array_equal(out[0], np.floor(x))
    np.testing.assert_array_equal(out[2], np.sqrt(np.abs(x)))
    np.testing.assert_array_equal(out[3], np.where((x < y) & (x != 0), -x, y))


def test_nearest_is_that_of_scalars_ties_and_overflow_included(results):
    x, _, out, _ = results
    bits = (x + np.float32(3 << 22)).view(np.int32)
    np.testing.assert_array_equal(out[1], (bits & 0x7FFFFF) - 0x400000)
    within = np.abs(x) < 1 << 22
    np.testing.assert_array_equal(out[1][within], np.round(x[within]))


def test_rounding_to_integers_whatever_their_size(results):
    x, _, out, _ = results
    np.testing.assert_array_equal(out[8], np.round(x))


def test_rounding_to_bfloat16_is_its_encoders(results):
    x, y, out, _ = results
    encoding = ENCODINGS["BF16"]
    expected = encoding.decode(encoding.encode((x + y)[None]), 16)
    np.testing.assert_array_equal(out[9].view(np.uint32), expected[0].view(np.uint32))


def test_bytes_wrap(results):
    _, y, out, packed = results
    whole = np.floor(y).astype(np.int32)
    np.testing.assert_array_equal(packed, whole.astype(np.uint8))
    np.testing.assert_array_equal(out[7], packed)
    np.testing.assert_array_equal(out[4], whole.astype(np.uint8))
    np.testing.assert_array_equal(out[5], whole.astype(np.int8))


def test_across_lanes(results):
    x, y, out, _ = results
    assert (out[6, 0], out[6, 1]) == (x.min(), x.max())
    assert int(out[6, 2]) == sum(1 << i for i in range(16) if x[i] > y[i])
