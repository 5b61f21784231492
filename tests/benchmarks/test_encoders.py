"""Encoders against ggml's own, one thread each, in one run: `extra_info` holds the ratio.

python -m pytest tests/benchmarks --benchmark-only -s
"""

import importlib.util
import time
from pathlib import Path

import numpy as np
import pytest

from edgepack.quant.encodings import encoding

ROWS, COLUMNS = 256, 2048

_spec = importlib.util.spec_from_file_location(
    "quant_conftest", Path(__file__).parents[1] / "quant" / "conftest.py"
)
_oracle = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_oracle)
ggml = _oracle.ggml  # the fixture: (encoding name, rows) -> encoded rows


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).normal(0, 0.02, (ROWS, COLUMNS)).astype(np.float32)


@pytest.mark.oracle
@pytest.mark.parametrize(
    "name", ["F16", "BF16", "Q8_0", "Q4_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"]
)
def test_encoder(benchmark, ggml, rows, name):
    ours = encoding(name)
    assert ours.encode(rows).tobytes() == ggml(name, rows).tobytes()
    peer = min(seconds(lambda: ggml(name, rows)) for _ in range(5))
    benchmark(ours.encode, rows)
    benchmark.extra_info["million_weights_per_second"] = rows.size / benchmark.stats["min"] / 1e6
    benchmark.extra_info["times_ggml"] = peer / benchmark.stats["min"]
    print(f"\n{name}: {peer / benchmark.stats['min']:.2f} times ggml's speed")


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
