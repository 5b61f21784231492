"""A checkpoint of a billion random weights, and whole commands timed with the memory they took."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import chain

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
    """Seconds on the wall, the most memory resident, in MB, and what was printed."""

    seconds: float
    megabytes: float
    out: str


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
    out, _, kilobytes = done.stdout.rpartition("PEAK ")
    return Run(time.perf_counter() - start, int(kilobytes) * 1024 / 1e6, out)


@pytest.fixture(scope="session")
def billion(random_checkpoint):
    """1.08 B bfloat16 weights in the shape of a qwen2."""
    return random_checkpoint("billion", "qwen2", SHAPE)


@pytest.fixture(scope="session")
def random_checkpoint(builder, tmp_path_factory):
    """`random_checkpoint(name, family, shape, tokens=290)`: bfloat16 weights, a tensor at a time,
    and a tokenizer of so many tokens."""

    def write(name, family, shape, tokens=290):
        folder = tmp_path_factory.mktemp(name) / "model"
        tokenizer = _widened(builder.byte_level_tokenizer(290), tokens)
        builder.write(folder, family, tensors={}, tokenizer=tokenizer, **shape)
        values = builder.config(family, **shape)
        table = (shape["vocab_size"], shape["hidden_size"])
        shapes = {"model.embed_tokens.weight": table}
        for layer in range(shape["num_hidden_layers"]):
            for part, size in builder._layer_shapes(values).items():
                shapes[f"model.layers.{layer}.{part}"] = size
        shapes["model.norm.weight"] = (shape["hidden_size"],)
        if not values["tie_word_embeddings"]:
            shapes["lm_head.weight"] = table
        _write_random(builder, folder / "model.safetensors", shapes)
        return folder

    return write


def _widened(tokenizer, tokens):
    """`tokenizer` with as many tokens, each new one two of the old ones joined."""
    vocabulary, merges = tokenizer["model"]["vocab"], tokenizer["model"]["merges"]
    old = [token for token in vocabulary if not token.startswith("<")]
    pairs = ((left, right) for left in old for right in old)
    pairs = chain(pairs, ((left + left, right) for left in old for right in old if left != right))
    pairs = chain(pairs, ((left, right + right) for left in old for right in old if left != right))
    for left, right in pairs:
        if len(vocabulary) >= tokens:
            break
        if left + right not in vocabulary:
            vocabulary[left + right] = len(vocabulary)
            merges.append([left, right])
    return tokenizer


def _write_random(builder, path, shapes):
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    noise = builder.bfloat16(np.random.default_rng(0).normal(0, 0.02, 1 << 24).astype(np.float32))
    with path.open("wb") as file:
        file.write(builder.container(json.dumps(header).encode(), b""))
        for shape in shapes.values():
            file.write(np.resize(noise, int(np.prod(shape))).tobytes())
