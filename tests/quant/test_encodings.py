"""Sizes, names, errors, and decoding of blocks whose bytes were written by hand."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from edgepack.errors import DamagedInput, Unsupported, UsageError
from edgepack.quant.encodings import ENCODINGS, encoding

HALF_ONE = [0x00, 0x3C]
HALF_TWO = [0x00, 0x40]

# From the published block layouts: elements, bytes.
SIZES = {
    "F32": (1, 4),
    "F16": (1, 2),
    "BF16": (1, 2),
    "Q8_0": (32, 34),
    "Q4_0": (32, 18),
    "Q4_1": (32, 20),
    "Q5_0": (32, 22),
    "Q5_1": (32, 24),
    "Q2_K": (256, 84),
    "Q3_K": (256, 110),
    "Q4_K": (256, 144),
    "Q5_K": (256, 176),
    "Q6_K": (256, 210),
    "IQ4_NL": (32, 18),
    "IQ4_XS": (256, 136),
    "MXFP4": (32, 17),
    "TQ1_0": (256, 54),
    "TQ2_0": (256, 66),
}


def test_block_sizes():
    assert {name: (e.block, e.block_bytes) for name, e in ENCODINGS.items()} == SIZES


def test_tensor_bytes_multiplies_all_leading_extents():
    assert encoding("Q4_K").tensor_bytes((3, 5, 512)) == 3 * 5 * 288
    assert encoding("F16").tensor_bytes((7,)) == 14
    assert encoding("Q8_0").row_bytes(96) == 102
    assert encoding("Q4_K").bits_per_weight == 4.5


def test_a_broken_block_is_refused():
    with pytest.raises(Unsupported, match=r"blocks of 256 weights, and a row has 320"):
        encoding("Q6_K").encode(np.zeros((1, 320), np.float32))


def test_data_of_the_wrong_length_is_refused():
    with pytest.raises(DamagedInput, match=r"has 143 bytes, not 144"):
        encoding("Q4_K").decode(np.zeros((1, 143), np.uint8), 256)


def test_importances_of_another_model_are_refused():
    with pytest.raises(DamagedInput, match=r"512 importances for rows of 256 weights"):
        encoding("Q4_K").encode(np.zeros((1, 256), np.float32), np.ones(512, np.float32))


def test_importances_may_be_strided_and_read_only():
    rows = np.random.default_rng(0).standard_normal((2, 256)).astype(np.float32)
    importance = np.arange(512, dtype=np.float32)[::2]
    importance.flags.writeable = False
    expected = encoding("Q4_0").encode(rows, importance.copy())
    np.testing.assert_array_equal(encoding("Q4_0").encode(rows, importance), expected)
    assert (expected != encoding("Q4_0").encode(rows)).any()


@pytest.mark.parametrize("name", ["F32", "F16", "BF16", "Q8_0", "MXFP4", "TQ1_0", "TQ2_0"])
def test_what_only_rounds_ignores_importances(name):
    rows = np.random.default_rng(0).standard_normal((2, 256)).astype(np.float32)
    importance = np.arange(256, dtype=np.float32)
    e = encoding(name)
    np.testing.assert_array_equal(e.encode(rows, importance), e.encode(rows))


def test_names_have_no_case_and_near_matches():
    assert encoding("q4_k") is ENCODINGS["Q4_K"]
    with pytest.raises(UsageError) as caught:
        encoding("Q4_KK")
    assert "'Q4_K'" in caught.value.hint


def test_importing_compiles_nothing():
    code = "import sys, edgepack.quant.schemes; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", ENCODINGS)
def test_no_rows_and_no_columns(name):
    e = ENCODINGS[name]
    assert e.encode(np.empty((0, 256), np.float32)).shape == (0, e.row_bytes(256))
    assert e.decode(e.encode(np.empty((2, 0), np.float32)), 0).shape == (2, 0)


def test_strided_and_read_only_input():
    rows = np.arange(4 * 512, dtype=np.float32).reshape(4, 512)
    picked = rows[::2, ::2]
    picked.flags.writeable = False
    data = encoding("Q8_0").encode(picked)
    data.flags.writeable = False
    np.testing.assert_array_equal(data, encoding("Q8_0").encode(picked.copy()))
    assert encoding("Q8_0").decode(data, 256).shape == (2, 256)


@pytest.mark.parametrize(
    ("value", "bits"),
    [
        (0.0, 0x0000),
        (-0.0, 0x8000),
        (1.0, 0x3C00),
        (-2.0, 0xC000),
        (65504.0, 0x7BFF),
        (65519.996, 0x7BFF),
        (65520.0, 0x7C00),
        (np.inf, 0x7C00),
        (2.0**-14, 0x0400),
        (2.0**-24, 0x0001),
        (2.0**-25, 0x0000),
        (1.5 * 2.0**-24, 0x0002),
        (2.0**-14 - 2.0**-26, 0x0400),
        (1.0 + 2.0**-11, 0x3C00),
        (1.0 + 3 * 2.0**-11, 0x3C02),
    ],
)
def test_float16_rounds_to_nearest_even(value, bits):
    data = encoding("F16").encode(np.array([[value]], np.float32))
    assert int.from_bytes(data.tobytes(), "little") == bits


@pytest.mark.parametrize(
    ("bits_in", "bits_out"),
    [
        (0x3F800000, 0x3F80),
        (0x3F808000, 0x3F80),
        (0x3F818000, 0x3F82),
        (0x00008001, 0x0001),
        (0x00000001, 0x0000),
        (0x80000000, 0x8000),
        (0x7F7FFFFF, 0x7F80),
        (0x7F800001, 0x7FC0),
    ],
)
def test_bfloat16_rounds_to_nearest_even_and_keeps_subnormals(bits_in, bits_out):
    data = encoding("BF16").encode(np.array([[bits_in]], np.uint32).view(np.float32))
    assert int.from_bytes(data.tobytes(), "little") == bits_out


def test_every_float16_and_bfloat16_survives_a_round_trip():
    bits = np.arange(1 << 16, dtype=np.uint16)
    for name, nan_from in (("F16", 0x7C00), ("BF16", 0x7F80)):
        numbers = bits[(bits & 0x7FFF) <= nan_from]
        values = ENCODINGS[name].decode(numbers.view(np.uint8).reshape(1, -1), numbers.size)
        again = ENCODINGS[name].encode(values).view(np.uint16)[0]
        np.testing.assert_array_equal(again, numbers)
        if name == "F16":
            np.testing.assert_array_equal(values[0], numbers.view(np.float16).astype(np.float32))


def test_q8_0_by_hand():
    rows = np.zeros((1, 32), np.float32)
    rows[0, :4] = 127.0, -63.5, 0.5, -0.49
    data = encoding("Q8_0").encode(rows)[0]
    # scale 127/127 = 1; -63.5 and 0.5 round away from zero
    assert data.tolist()[:6] == [*HALF_ONE, 127, 256 - 64, 1, 0]


def test_q4_0_by_hand():
    rows = np.zeros((1, 32), np.float32)
    rows[0, 0], rows[0, 16], rows[0, 1] = -8.0, 7.0, 7.6
    data = encoding("Q4_0").encode(rows)[0]
    # scale -8/-8 = 1; levels 0, 15 and min(15, 16); zeros are level 8
    assert data.tolist()[:4] == [*HALF_ONE, 0xF0, 0x8F]


def test_decoding_q4_k_by_hand():
    block = np.zeros(144, np.uint8)
    block[0:4] = HALF_ONE + HALF_TWO
    block[4] = 3  # scale of sub-block 0
    block[8] = 1  # offset of sub-block 0
    block[5] = 0b10_000000  # high bits of sub-block 5's scale
    block[13] = 0x01  # low bits of sub-block 5's scale: 2 << 4 | 1 = 33
    block[16] = 0x05  # level 0 of sub-block 0
    block[16 + 64] = 0x70  # level 0 of sub-block 5
    values = encoding("Q4_K").decode(block[None], 256)[0]
    assert values[0] == 1 * 3 * 5 - 2 * 1
    assert values[160] == 33 * 7


def test_decoding_q6_k_by_hand():
    block = np.zeros(210, np.uint8)
    block[208:210] = HALF_TWO
    block[192 + 6] = 256 - 3  # scale of weights 96 to 111: -3
    block[32] = 0xB0  # low bits of weight 96
    block[128] = 0b01_000000  # high bits of weight 96: level 1 << 4 | 11 = 27
    values = encoding("Q6_K").decode(block[None], 256)[0]
    assert values[96] == 2 * -3 * (27 - 32)


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_weight_is_still_finite_when_read_back(name, sign):
    """Alone in its block, beside another, beside its opposite, and everywhere."""
    e = ENCODINGS[name]
    largest = np.float32(sign * e.largest)
    rows = np.zeros((4, 256), np.float32)
    rows[0, 3] = largest
    rows[1, [3, 200]] = largest, largest / 3
    rows[2, [3, 4]] = largest, -largest
    rows[3, :] = largest
    assert np.isfinite(e.decode(e.encode(rows), 256)).all()
