"""A checkpoint of a billion random weights, and whole commands timed with the memory they took."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np
import pytest

SHAPE = {
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 23,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "vocab_size": 32_000,
    "max_position_embeddings": 2048,
}
RUN = """
import atexit, runpy, sys
def peak():
    with open("/proc/self/status") as status:
        print("PEAK", *(line.split()[1] for line in status if line.startswith("VmHWM")))
atexit.register(peak)
sys.argv = sys.argv[1:]
if sys.argv[0].endswith(".py"):
    runpy.run_path(sys.argv[0], run_name="__main__")
else:
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True)
class Run:
    """Seconds on the wall, and the most memory resident, in MB."""

    seconds: float
    megabytes: float


@pytest.fixture(scope="session")
def timed():
    """`timed(program, *arguments)`: a module, or a script, as a process of its own.

    Linux only: its peak is read from /proc, which getrusage does not know apart from its parent's.
    """
    if not sys.platform.startswith("linux"):
        pytest.skip("peak memory is read from /proc")
    return _timed


def _timed(program: object, *arguments: object, python: str = sys.executable) -> Run:
    start = time.perf_counter()
    done = subprocess.run(
        [python, "-c", RUN, str(program), *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    kilobytes = int(done.stdout.rpartition("PEAK ")[2])
    return Run(time.perf_counter() - start, kilobytes * 1024 / 1e6)


@pytest.fixture(scope="session")
def billion(builder, tmp_path_factory):
    """1.08 B bfloat16 weights in the shape of a qwen2, written a tensor at a time."""
    folder = tmp_path_factory.mktemp("billion") / "model"
    tokenizer = builder.byte_level_tokenizer(290)
    builder.write(folder, "qwen2", tensors={}, tokenizer=tokenizer, **SHAPE)
    shapes = {"model.embed_tokens.weight": (SHAPE["vocab_size"], SHAPE["hidden_size"])}
    values = builder.config("qwen2", **SHAPE)
    for layer in range(SHAPE["num_hidden_layers"]):
        for name, shape in builder._layer_shapes(values).items():
            shapes[f"model.layers.{layer}.{name}"] = shape
    shapes["model.norm.weight"] = (SHAPE["hidden_size"],)
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    noise = builder.bfloat16(np.random.default_rng(0).normal(0, 0.02, 1 << 24).astype(np.float32))
    with (folder / "model.safetensors").open("wb") as file:
        file.write(builder.container(json.dumps(header).encode(), b""))
        for shape in shapes.values():
            count = int(np.prod(shape))
            file.write(np.resize(noise, count).tobytes())
    return folder
