"""Group encoders against mx.quantize, one thread each, in one run: `extra_info` holds the ratio.

python -m pytest tests/benchmarks/test_mlx.py --benchmark-only -s
"""

import sys
import time

import numpy as np
import pytest

from edgepack.quant.groups import group_affine, mxfp4

if sys.platform == "win32":
    pytest.skip("MLX has no wheels for Windows", allow_module_level=True)

import mlx.core as mx

ROWS, COLUMNS = 512, 4096


@pytest.fixture(scope="module")
def array():
    rows = np.random.default_rng(0).normal(0, 0.02, (ROWS, COLUMNS)).astype(np.float32)
    return mx.array(rows).astype(mx.bfloat16)


@pytest.mark.parametrize("search", [False, True], ids=["plain", "search"])
@pytest.mark.parametrize(
    ("bits", "group"), [(2, 64), (3, 64), (4, 32), (4, 64), (4, 128), (5, 64), (6, 64), (8, 64)]
)
def test_affine(benchmark, array, bits, group, search):
    encoding = group_affine(bits, group, "BF16", plain=not search)
    measure(benchmark, encoding, array, lambda: mx.quantize(array, group, bits))


@pytest.mark.parametrize("search", [False, True], ids=["plain", "search"])
def test_mxfp4(benchmark, array, search):
    encoding = mxfp4("BF16", plain=not search)
    measure(benchmark, encoding, array, lambda: mx.quantize(array, mode="mxfp4"))


def measure(benchmark, encoding, array, quantize):
    rows = np.array(array.astype(mx.float32))
    peer = min(seconds(lambda: mx.eval(quantize())) for _ in range(5))
    benchmark(encoding.encode, rows)
    own = benchmark.stats["min"]
    benchmark.extra_info["million_weights_per_second"] = rows.size / own / 1e6
    benchmark.extra_info["times_mx_quantize"] = peer / own
    kind = "plain" if encoding.plain else "search"
    print(
        f"\n{encoding.name} {kind}: {rows.size / own / 1e6:.0f} M/s, {peer / own:.2f} times mlx's"
    )


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
