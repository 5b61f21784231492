"""Encoders against ggml's own, one thread each, in one run: `extra_info` holds the ratio.

python -m pytest tests/benchmarks --benchmark-only -s
"""

import importlib.util
import time
from pathlib import Path

import numpy as np
import pytest

from edgepack.quant.encodings import ENCODINGS, encoding

ROWS, COLUMNS = 256, 2048

_spec = importlib.util.spec_from_file_location(
    "quant_conftest", Path(__file__).parents[1] / "quant" / "conftest.py"
)
_oracle = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_oracle)
ggml = _oracle.ggml  # the fixture: (encoding name, rows, importance) -> encoded rows


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).normal(0, 0.02, (ROWS, COLUMNS)).astype(np.float32)


@pytest.fixture(scope="module")
def importance():
    return np.random.default_rng(1).gamma(1, 1, COLUMNS).astype(np.float32)


@pytest.mark.oracle
@pytest.mark.parametrize("name", [name for name in ENCODINGS if name != "F32"])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_encoder(benchmark, ggml, rows, importance, name, weighted):
    ours, given = encoding(name), importance if weighted else None
    assert ours.encode(rows, given).tobytes() == ggml(name, rows, given).tobytes()
    peer = min(seconds(lambda: ggml(name, rows, given)) for _ in range(5))
    benchmark(ours.encode, rows, given)
    speed, ratio = rows.size / benchmark.stats["min"] / 1e6, peer / benchmark.stats["min"]
    benchmark.extra_info["million_weights_per_second"] = speed
    benchmark.extra_info["times_ggml"] = ratio
    kind = "with importances" if weighted else ""
    print(f"\n{name} {kind}: {speed:.0f} Mw/s, {ratio:.2f} times ggml's speed")


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
