"""What the reference takes of a model of seven billion weights, two of whose layers are here.

python -m pytest tests/benchmarks/test_validate.py --benchmark-only -s
"""

import json
import os
from pathlib import Path

SHAPE = {
    "hidden_size": 4096,
    "intermediate_size": 11_008,
    "num_hidden_layers": 2,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "vocab_size": 32_000,
    "max_position_embeddings": 4096,
}
LAYERS, FULL_SAMPLE = 32, 32_000  # of the whole model; tokens
DOCUMENTS, TOKENS = 4, 256
CHILD = Path(__file__).with_name("reference_run.py")


def test_memory_is_one_layer_and_the_states(
    benchmark, timed, random_checkpoint, monkeypatch, tmp_path
):
    folder = random_checkpoint("seven", "llama", SHAPE)
    monkeypatch.setenv("EDGEPACK_CACHE", str(tmp_path))
    runs = []
    benchmark.pedantic(
        lambda: runs.append(timed(CHILD, folder, DOCUMENTS, TOKENS)), rounds=1, warmup_rounds=0
    )
    (run,) = runs
    again = timed(CHILD, folder, DOCUMENTS, TOKENS)
    width, inner = SHAPE["hidden_size"], SHAPE["intermediate_size"]
    weights = 4 * width * width + 3 * width * inner
    # every document, all of them once more for the floor, and the control's twice
    tokens = (2 * DOCUMENTS + 2) * TOKENS
    layer, states = 4 * weights / 1e6, 4 * width * tokens / 1e6
    head = 2 * SHAPE["vocab_size"] * width / 1e6
    seconds = json.loads(run.out.splitlines()[0])["layers"]
    rate = 2 * weights * tokens / min(seconds) / 1e9
    print(
        f"\none layer {layer:.0f} MB, states {states:.0f} MB, head {head:.0f} MB: "
        f"peak {run.megabytes:.0f} MB; {tokens} tokens through a layer in {min(seconds):.1f} s "
        f"({rate:.0f} GFLOP/s on {os.cpu_count()} cores)"
        f"\nfrom kept states: {again.seconds:.1f} s in place of {run.seconds:.1f} s, "
        f"peak {again.megabytes:.0f} MB"
        "\nlaw: 4 x (weights of a layer + width x tokens) bytes and about "
        f"{run.megabytes - layer - states:.0f} MB; 2 x weights x tokens operations"
    )
    all_tokens = FULL_SAMPLE + 4096 + 2 * 512
    hours = 2 * LAYERS * weights * all_tokens / rate / 1e9 / 3600
    print(
        f"all {LAYERS} layers on {FULL_SAMPLE:,} tokens: "
        f"{(layer + 4 * width * all_tokens / 1e6) / 1e3:.1f} GB and {hours:.1f} h at this rate"
    )
    # the widest tensor is held as it is stored too while it is widened; then batches and logits
    assert run.megabytes < 1.3 * layer + 1.5 * states + head + 500
    assert again.megabytes < run.megabytes
