"""Block integers against onnxruntime's own quantizer, in one run: `extra_info` holds the ratio.

python -m pytest tests/benchmarks/test_onnx.py --benchmark-only -s

Ours encodes on one thread; the quantizer takes a matrix transposed, and its transposing is not
counted.
"""

import time

import numpy as np
import pytest

from edgepack.quant.nbits import block_ints

ROWS, COLUMNS = 1024, 2048

state = pytest.importorskip("onnxruntime").capi._pybind_state


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).normal(0, 0.02, (ROWS, COLUMNS)).astype(np.float32)


@pytest.mark.parametrize("search", [False, True], ids=["plain", "search"])
@pytest.mark.parametrize("symmetric", [True, False], ids=["sym", "asym"])
@pytest.mark.parametrize(("bits", "group"), [(4, 32), (4, 128), (8, 32)])
def test_encoder(benchmark, rows, bits, group, symmetric, search):
    encoding = block_ints(bits, group, symmetric=symmetric, search=search)
    planes = encoding.encode(rows)
    quantizer = getattr(state, f"quantize_matmul_{bits}bits")
    levels, scales = np.zeros_like(planes.levels), np.zeros_like(planes.scales)
    zeros = np.zeros((ROWS, -(-COLUMNS // group * bits // 8)), np.uint8)
    columnwise = np.ascontiguousarray(rows.T)

    def theirs():
        quantizer(levels, columnwise, scales, zeros, group, ROWS, COLUMNS, symmetric)

    peer = min(seconds(theirs) for _ in range(5))
    if not search:
        assert planes.levels.tobytes() == levels.tobytes()
    benchmark(encoding.encode, rows)
    speed, times = rows.size / benchmark.stats["min"] / 1e6, peer / benchmark.stats["min"]
    benchmark.extra_info |= {"million_weights_per_second": speed, "times_onnxruntime": times}
    kind = f"{encoding.name} {'search' if search else 'plain'}"
    print(f"\n{kind}: {speed:.0f} M weights/s, {times:.2f} times onnxruntime's speed")


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
