"""Blocks of integers against onnxruntime: its quantizer for plain bytes, its operators for all."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepack.quant.nbits import block_ints

BITS, GROUPS = (4, 8), (32, 64, 128)
KINDS = [
    block_ints(bits, group, symmetric=symmetric, scale=scale)
    for bits, group, symmetric, scale in itertools.product(
        BITS, GROUPS, (True, False), ("F32", "F16")
    )
]


def label(encoding):
    return f"{encoding.name}-{encoding.scale}"


def plain(encoding):
    return block_ints(
        encoding.bits,
        encoding.block,
        symmetric=encoding.symmetric,
        scale=encoding.scale,
        search=False,
    )


def weights(rows, columns, seed=0):
    """Normal weights that float16 holds exactly, with rows that are hard to scale."""
    made = np.random.default_rng(seed).normal(0, 0.02, (rows, columns)).astype(np.float16)
    made[0] = 0
    made[1] = abs(made[1])
    made[2] = -abs(made[2])
    made[3, 1:] = 0
    return made.astype(np.float32)


def squared_error(encoding, rows):
    difference = encoding.decode(encoding.encode(rows), rows.shape[1]) - rows
    return np.sum(np.square(difference, dtype=np.float64))


@pytest.fixture(scope="module")
def quantizer():
    """onnxruntime's own: (encoding, rows) -> levels, scales, zero points."""
    state = pytest.importorskip("onnxruntime").capi._pybind_state

    def encode(encoding, rows):
        count, columns = rows.shape
        blocks = encoding.blocks(columns)
        dtype = np.float32 if encoding.scale == "F32" else np.float16
        columnwise = np.zeros((blocks * encoding.block, count), dtype)
        columnwise[:columns] = rows.T
        levels = np.zeros((count, blocks, encoding.block * encoding.bits // 8), np.uint8)
        scales = np.zeros((count, blocks), dtype)
        zeros = np.zeros((count, -(-blocks * encoding.bits // 8)), np.uint8)
        quantize = getattr(state, f"quantize_matmul_{encoding.bits}bits")
        quantize(
            levels, columnwise, scales, zeros,
            encoding.block, count, blocks * encoding.block, encoding.symmetric,
        )  # fmt: skip
        return levels, scales, zeros

    return encode


@pytest.fixture(scope="module")
def product():
    """x times the encoded rows, transposed, by MatMulNBits in onnxruntime."""
    onnxruntime = pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper, numpy_helper

    def run(encoding, planes, x):
        inputs = {"levels": planes.levels, "scales": planes.scales, "zeros": planes.zeros}
        given_ = {name: plane for name, plane in inputs.items() if plane is not None}
        kind = TensorProto.FLOAT if encoding.scale == "F32" else TensorProto.FLOAT16
        count, columns = planes.scales.shape[0], x.shape[1]
        node = helper.make_node(
            "MatMulNBits", ["x", *given_], ["y"], domain="com.microsoft",
            K=columns, N=count, bits=encoding.bits, block_size=encoding.block,
        )  # fmt: skip
        graph = helper.make_graph(
            [node],
            "one",
            [helper.make_tensor_value_info("x", kind, x.shape)],
            [helper.make_tensor_value_info("y", kind, (len(x), count))],
            [numpy_helper.from_array(plane, name) for name, plane in given_.items()],
        )
        domains = [helper.make_opsetid("", 23), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=domains, ir_version=11)
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        return session.run(None, {"x": x})[0]

    return run


@pytest.mark.parametrize("columns", [256, 250, 96])
@pytest.mark.parametrize("encoding", KINDS, ids=label)
def test_plain_bytes_are_those_of_onnxruntimes_quantizer(quantizer, encoding, columns):
    rows = weights(24, columns)
    planes = plain(encoding).encode(rows)
    levels, scales, zeros = quantizer(encoding, rows)
    np.testing.assert_array_equal(planes.levels, levels)
    assert planes.scales.tobytes() == scales.tobytes()
    if encoding.symmetric:
        assert planes.zeros is None
    else:
        np.testing.assert_array_equal(planes.zeros, zeros)


@pytest.mark.parametrize("encoding", [e for e in KINDS if e.scale == "F32"], ids=label)
@pytest.mark.parametrize("columns", [256, 200])
def test_matmulnbits_multiplies_by_what_decode_gives(product, encoding, columns):
    rows = weights(16, columns)
    planes = encoding.encode(rows)
    x = np.eye(columns, dtype=np.float32)
    np.testing.assert_allclose(
        product(encoding, planes, x).T, encoding.decode(planes, columns), rtol=1e-6, atol=1e-9
    )


@pytest.mark.parametrize("encoding", KINDS, ids=label)
def test_the_search_is_closer_than_rounding(encoding):
    rows = weights(64, 512)
    gain = squared_error(encoding, rows) / squared_error(plain(encoding), rows)
    assert gain < {4: 0.95, 8: 0.99}[encoding.bits]


@settings(max_examples=60, deadline=None)
@given(
    encoding=st.sampled_from(KINDS),
    seed=st.integers(0, 2**32 - 1),
    columns=st.integers(1, 300),
    magnitude=st.sampled_from([1e-30, 1e-6, 1.0, 1e3]),
    tail=st.booleans(),
)
def test_no_block_is_ever_worse_for_the_search(encoding, seed, columns, magnitude, tail):
    rng = np.random.default_rng(seed)
    rows = rng.standard_cauchy((3, columns)) if tail else rng.normal(0, 1, (3, columns))
    rows = (np.clip(rows, -9, 9) * magnitude).astype(np.float32)
    searched, rounded = squared_error(encoding, rows), squared_error(plain(encoding), rows)
    assert searched <= rounded * (1 + 1e-5)


@settings(max_examples=60, deadline=None)
@given(
    encoding=st.sampled_from(KINDS),
    seed=st.integers(0, 2**32 - 1),
    columns=st.integers(1, 300),
)
def test_plain_weights_are_within_a_step(encoding, seed, columns):
    """Half a step for rounding; a symmetric block clips its highest level, up to one step."""
    rows = np.random.default_rng(seed).normal(0, 1, (3, columns)).astype(np.float32)
    planes = plain(encoding).encode(rows)
    found = encoding.decode(planes, columns)
    step = np.repeat(abs(planes.scales.astype(np.float32)), encoding.block, axis=1)[:, :columns]
    assert (abs(found - rows) <= 1.02 * step).all()


@pytest.mark.parametrize("encoding", KINDS, ids=label)
@pytest.mark.parametrize("columns", [1, 31, 128, 300])
def test_sizes_are_those_of_the_planes(encoding, columns):
    planes = encoding.encode(weights(5, columns))
    stored = [p.nbytes for p in (planes.levels, planes.scales, planes.zeros) if p is not None]
    assert sum(stored) == encoding.tensor_bytes((5, columns))
    assert [size // 5 for size in stored] == list(encoding.plane_bytes(columns))[: len(stored)]


def test_bits_per_weight_count_every_plane():
    assert block_ints(4, 32).bits_per_weight == 5.0
    assert block_ints(4, 32, symmetric=False, scale="F16").bits_per_weight == 4.625
    assert block_ints(8, 128).bits_per_weight == 8.25


@pytest.mark.parametrize("encoding", KINDS, ids=label)
def test_slabs_are_independent(encoding):
    """However the rows are cut, the bytes are the same: tiles of blocks cross rows."""
    rows = weights(11, 160)
    whole = encoding.encode(rows)
    for part in (slice(0, 4), slice(4, 11)):
        planes = encoding.encode(rows[part])
        assert planes.levels.tobytes() == whole.levels[part].tobytes()
        assert planes.scales.tobytes() == whole.scales[part].tobytes()


@pytest.mark.parametrize("encoding", KINDS, ids=label)
def test_the_largest_weights_have_finite_scales(encoding):
    for value in (encoding.largest, -encoding.largest):
        rows = np.full((1, encoding.block), value, np.float32)
        rows[0, ::2] *= -1
        assert np.isfinite(encoding.encode(rows).scales).all()
        assert np.isfinite(plain(encoding).encode(rows).scales).all()


def test_levels_lie_low_nibble_first():
    rows = np.zeros((1, 32), np.float32)
    rows[0, :4] = [-8, 1, 2, -3]
    planes = block_ints(4, 32, search=False).encode(rows)
    assert planes.scales[0, 0] == 1
    assert planes.levels[0, 0, :3].tolist() == [0x90, 0x5A, 0x88]


def test_rows_that_may_not_be_written_are_read():
    rows = weights(4, 64)
    rows.flags.writeable = False
    assert block_ints(4, 32).encode(rows).levels.shape == (4, 2, 16)
