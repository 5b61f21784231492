"""Every kernel against ggml, byte by byte, and against gguf-py's decoders."""

from __future__ import annotations

from zlib import crc32

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepack.quant.encodings import ENCODINGS

pytestmark = pytest.mark.oracle

PIECE, PIECES = 16, 48
FLOAT_MAX = float(np.finfo(np.float32).max)


def _piece(kind, size, random):
    """16 weights of one kind around magnitude `size`."""
    normal = random.standard_normal(PIECE)
    with np.errstate(over="ignore", under="ignore"):
        values = {
            "normal": normal * size,
            "zero": np.zeros(PIECE),
            "negative zero": np.full(PIECE, -0.0),
            "constant": np.full(PIECE, size),
            "positive": np.abs(normal) * size,
            "negative": -np.abs(normal) * size,
            "two values": np.sign(normal) * size,
            "grid": random.integers(-8, 8, PIECE) * size / 2,
            "one": np.eye(1, PIECE, random.integers(PIECE))[0] * size,
            "outlier": normal * size * np.where(np.arange(PIECE) == 3, 1e4, 1),
            "near": size * (1 + normal * 1e-7),
        }[kind]
        return np.clip(values, -FLOAT_MAX, FLOAT_MAX).astype(np.float32)


KINDS = (
    "normal", "zero", "negative zero", "constant", "positive", "negative", "two values", "grid",
    "one", "outlier", "near",
)  # fmt: skip
SIZES = (1.0, 0.02, -0.02, 1e-4, 6e-8, 1e-15, 1e-30, 1e-38, 1e-42, 1.4e-45, 7e4, 1e18, 1e30, 3e38)

pieces = st.lists(
    st.tuples(st.sampled_from(KINDS), st.sampled_from(SIZES)), min_size=1, max_size=PIECES
)


def importances(columns, kind, random):
    """Importances of columns, as they come and as they should not."""
    values = {
        "usual": random.gamma(1, 1, columns),
        "constant": np.ones(columns),
        "wide": np.exp(random.normal(0, 8, columns)),
        "sparse": random.gamma(1, 1, columns) * (random.random(columns) < 0.2),
        "zero": np.zeros(columns),
        "tiny": random.gamma(1, 1e-30, columns),
        "huge": random.gamma(1, 1e30, columns),
    }[kind]
    return values.astype(np.float32)


IMPORTANCES = ("usual", "constant", "wide", "sparse", "zero", "tiny", "huge")


def assert_same_bytes(ggml, name, rows, importance=None):
    mine = ENCODINGS[name].encode(rows, importance)
    np.testing.assert_array_equal(mine, ggml(name, rows, importance))


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("importance", [None, *IMPORTANCES])
def test_random_rows(ggml, name, importance):
    random = np.random.default_rng(crc32(name.encode()))
    rows = (random.standard_normal((64, 1024)) * 0.02).astype(np.float32)
    given = None if importance is None else importances(1024, importance, random)
    assert_same_bytes(ggml, name, rows, given)


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("count", [1, 3, 15, 16, 17, 33])
def test_any_number_of_blocks(ggml, name, count):
    """Sixteen blocks are encoded at once: fewer are filled up, and none is left out."""
    random = np.random.default_rng(count)
    columns = ENCODINGS[name].block
    rows = random.standard_normal((count, columns)).astype(np.float32)
    assert_same_bytes(ggml, name, rows)
    assert_same_bytes(ggml, name, rows, importances(columns, "usual", random))


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_one_kind(ggml, name, kind):
    random = np.random.default_rng(7)
    rows = np.array([[_piece(kind, size, random) for _ in range(32)] for size in SIZES])
    rows = rows.reshape(len(SIZES), 512)
    assert_same_bytes(ggml, name, rows)
    assert_same_bytes(ggml, name, rows, importances(512, "usual", random))


@pytest.mark.parametrize("name", ENCODINGS)
@settings(deadline=None, database=None, max_examples=150)
@given(
    kinds=pieces,
    importance=st.none() | st.sampled_from(IMPORTANCES),
    seed=st.integers(0, 2**32 - 1),
)
def test_nasty_rows(ggml, name, kinds, importance, seed):
    random = np.random.default_rng(seed)
    parts = [_piece(*kinds[i % len(kinds)], random) for i in range(PIECES)]
    rows = np.concatenate(parts)[None]
    given = None if importance is None else importances(rows.size, importance, random)
    assert_same_bytes(ggml, name, rows, given)


def test_mxfp4_peaks_beside_every_power_of_two(ggml):
    """The reference takes a float32 logarithm, which rounds up just below some of them."""
    bits = np.arange(1, 255, dtype=np.int32)[:, None] << 23
    peaks = (bits + np.arange(-40, 3, dtype=np.int32)).view(np.float32)
    subnormal = np.arange(1, 5000, 37, dtype=np.int32).view(np.float32)
    rows = np.zeros((peaks.size + subnormal.size, 32), np.float32)
    rows[:, 5] = np.concatenate([peaks.ravel(), subnormal])
    rows[:, 9] = -rows[:, 5] / 3
    assert_same_bytes(ggml, "MXFP4", rows)


@pytest.mark.parametrize("name", ENCODINGS)
def test_decoding_any_bytes(name):
    quants = pytest.importorskip("gguf").quants
    kind = pytest.importorskip("gguf").GGMLQuantizationType[name]
    random = np.random.default_rng(3)
    data = random.integers(0, 256, (256, ENCODINGS[name].row_bytes(512)), np.uint8)
    with np.errstate(all="ignore"):
        expected = quants.dequantize(data, kind)
    got = ENCODINGS[name].decode(data, 512)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_a_number_ends(name, value):
    rows = np.full((2, 512), value, np.float32)
    rows[0, ::3] = 1.0
    assert ENCODINGS[name].encode(rows).shape[0] == 2
    assert ENCODINGS[name].encode(rows, np.ones(512, np.float32)).shape[0] == 2
