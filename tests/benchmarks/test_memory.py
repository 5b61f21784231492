"""Peak resident memory of llama.cpp against the law.

    python -m pytest tests/benchmarks/test_memory.py --benchmark-only -s

In a process of its own, read from /proc; what edgepack and numpy add to a bare interpreter is taken
off. 512 tokens of prefill and 8 more; logits of one token at a time, as a server asks for them.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgepack import formats
from edgepack.memory import Deployment, footprint
from edgepack.models import open_checkpoint
from edgepack.quant.schemes.gguf import scheme
from edgepack.units import MIB

REASONER = Path(__file__).parents[2] / "fixtures" / "reasoner"
PROMPT, MORE = 512, 8
RUN = f"""
def kilobytes(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name))
bare = kilobytes("VmRSS")
import sys
from pathlib import Path
from edgepack.fidelity.runtimes.llamacpp import LlamaCpp
ours = kilobytes("VmRSS") - bare
model = LlamaCpp(Path(sys.argv[1]), cache="f16", flash_attention=True)
model.generate([i % model.vocabulary for i in range({PROMPT})], {MORE}, ())
print(kilobytes("VmHWM") - ours)
"""
HALF_BILLION = {
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "vocab_size": 151_936,
    "max_position_embeddings": 32768,
}


@pytest.fixture(scope="session")
def half_billion(random_checkpoint):
    """Random weights in the shape of Qwen2.5-0.5B, its tokenizer as large."""
    return random_checkpoint(
        "half-billion", "qwen2", HALF_BILLION, tokens=HALF_BILLION["vocab_size"]
    )


@pytest.mark.parametrize("name", ["F16", "Q8_0", "Q4_K_M"])
@pytest.mark.parametrize("model", ["reasoner", "half_billion"])
def test_peak(benchmark, request, written, tmp_path, model, name):
    if not sys.platform.startswith("linux"):
        pytest.skip("peak memory is read from /proc")
    folder = REASONER if model == "reasoner" else request.getfixturevalue(model)
    checkpoint = open_checkpoint(str(folder))
    artifact = written(formats.named("gguf"), checkpoint, scheme(name), tmp_path)

    def run():
        command = [sys.executable, "-c", RUN, str(artifact.entry(tmp_path))]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        return int(done.stdout) / 1024

    measured = benchmark.pedantic(run, rounds=1)
    deployment = Deployment(2 * PROMPT, program="llama-server")
    predicted = footprint(checkpoint.decoder, scheme(name), deployment).total / MIB
    over = 100 * (predicted / measured - 1)
    print(f"\n{model} {name}: {predicted:.1f} MiB predicted, {measured:.1f} measured, {over:+.1f}%")
    assert abs(over) < 5
