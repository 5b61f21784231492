"""Whole conversions of a billion weights against the formats' own converters, in one run.

python -m pytest tests/benchmarks/test_conversion.py --benchmark-only -s

onnxruntime-genai's builder needs torch: name the Python of an environment that has both in
GENAI_PYTHON, or its line is left out.
"""

import os
import shutil

import pytest

ROUNDS = 2


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "search"])
def test_mlx(benchmark, timed, billion, tmp_path, plain):
    options = ["-q", "--q-bits", 4, "--q-group-size", 64]
    out = tmp_path / "theirs"
    peer = [
        fresh(timed, out, "mlx_lm.convert", "--hf-path", billion, "--mlx-path", out, *options)
        for _ in range(ROUNDS)
    ]
    measure(benchmark, timed, billion, tmp_path / "ours", "mlx", plain, peer)


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "search"])
def test_onnx(benchmark, timed, billion, tmp_path, plain):
    python, peer = os.environ.get("GENAI_PYTHON"), []
    if python:
        out = tmp_path / "theirs"
        options = ["-p", "int4", "-e", "cpu", "-c", tmp_path / "cache"]
        builder = "onnxruntime_genai.models.builder"
        peer = [fresh(timed, out, builder, "-i", billion, "-o", out, *options, python=python)]
    measure(benchmark, timed, billion, tmp_path / "ours", "onnx", plain, peer)


def measure(benchmark, timed, model, out, form, plain, peer):
    arguments = ["quantize", model, "--to", form, "--bits", 4, "-o", out, "-q"]
    runs = []
    benchmark.pedantic(
        lambda: runs.append(
            fresh(timed, out, "edgepack", *arguments, *(["--plain"] if plain else []))
        ),
        rounds=ROUNDS,
        warmup_rounds=1,  # kernels compile, and the checkpoint is in the cache
    )
    own = min(run.seconds for run in runs)
    memory = max(run.megabytes for run in runs)
    line = f"{form} {'plain' if plain else 'search'}: {own:.1f} s, {memory:.0f} MB peak"
    if peer:
        theirs = min(run.seconds for run in peer)
        benchmark.extra_info["times_as_fast"] = theirs / own
        most = max(run.megabytes for run in peer)
        line += f"; {theirs / own:.1f} times as fast as their {theirs:.1f} s, {most:.0f} MB"
    benchmark.extra_info["peak_megabytes"] = memory
    print(f"\n{line}")


def fresh(timed, out, module, *arguments, **options):
    shutil.rmtree(out, ignore_errors=True)
    return timed(module, *arguments, **options)
