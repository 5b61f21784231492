"""Widening: exact, and the largest magnitude with it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepack.quant.kernels import widening

BITS = st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=70)


@given(BITS)
def test_bfloat16_is_the_upper_half(bits):
    stored = np.array(bits, np.uint16)
    out, peak = np.empty(stored.size, np.float32), np.empty(1, np.float32)
    widening.brain(stored, out, peak)
    expected = (stored.astype(np.uint32) << 16).view(np.float32)
    assert out.view(np.uint32).tolist() == expected.view(np.uint32).tolist()
    check(expected, peak[0])


@given(BITS)
def test_the_peak_of_floats(bits):
    x = (np.array(bits, np.uint32) << 16 | 0x1234).view(np.float32)
    peak = np.empty(1, np.float32)
    widening.magnitude(x, peak)
    check(x, peak[0])


def check(x, peak):
    if np.isnan(x).any():
        assert np.isnan(peak)
    else:
        assert peak == abs(x).max()


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 1000])
def test_every_element_counts(size):
    for at in {0, size // 2, size - 1} & set(range(size)):
        x = np.zeros(size, np.float32)
        x[at] = -3
        peak = np.zeros(1, np.float32)
        widening.magnitude(x, peak)
        assert peak[0] == 3
