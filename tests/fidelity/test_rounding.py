"""Rounding to half width, against conversions by others."""

from __future__ import annotations

import numpy as np
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgepack.fidelity.rounding import bfloat16, exact, float16

FINITE = st.floats(-(2.0**100), 2.0**100, width=32)


@given(arrays(np.float32, (3, 8), elements=FINITE))
def test_bfloat16_is_that_of_gguf(x):
    kind = GGMLQuantizationType.BF16
    np.testing.assert_array_equal(bfloat16(x), dequantize(quantize(x, kind), kind))


def test_ties_go_to_even_and_halves_do_not_overflow():
    x = np.array([1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8], np.float32)
    assert bfloat16(x).tolist() == [1, 1 + 2**-6, -1]
    assert float16(np.array([1 + 2**-11, 1e9, -1e9], np.float32)).tolist() == [1, 65504, -65504]


@given(arrays(np.float32, 8, elements=st.floats(-60000, 60000, width=32)))
def test_float16_is_nearest_and_exact_changes_nothing(x):
    assert (np.abs(float16(x) - x) <= np.maximum(np.abs(x) * 2**-11, 2**-25)).all()
    assert exact(x) is x


def test_a_part_of_an_array_is_rounded_as_the_whole():
    x = np.random.default_rng(0).standard_normal((6, 8)).astype(np.float32)
    np.testing.assert_array_equal(bfloat16(x[:, ::2]), bfloat16(x)[:, ::2])
