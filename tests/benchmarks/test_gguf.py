"""A billion weights to GGUF against llama.cpp's quantizer, a copy, and one core, in one run.

python -m pytest tests/benchmarks/test_gguf.py --benchmark-only -s

llama.cpp takes two programs: a converter, which is not packaged, and the quantizer. The second is
always run; the first too where LLAMA_CONVERT names its convert_hf_to_gguf.py (gguf-py beside it)
and LLAMA_CONVERT_PYTHON a Python with torch, transformers and sentencepiece.
"""

import filecmp
import os
import shutil
import time
from pathlib import Path

import pytest

LLAMA_QUANTIZE = Path(__file__).with_name("llama_quantize.py")
LLAMA_CONVERT = Path(__file__).with_name("llama_convert.py")
ROUNDS = 2


@pytest.fixture(scope="module")
def converted(timed, billion, tmp_path_factory):
    """The BF16 GGUF that llama.cpp's quantizer starts from."""
    out = tmp_path_factory.mktemp("bf16") / "model.gguf"
    timed("edgepack", "quantize", billion, "--scheme", "BF16", "-o", out)
    return out


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("scheme", "ftype"), [("Q4_K_M", 15), ("Q6_K", 18), ("Q8_0", 7), ("Q2_K", 10)]
)
def test_scheme(benchmark, timed, billion, converted, tmp_path, scheme, ftype):
    theirs = tmp_path / "theirs.gguf"
    cores = len(os.sched_getaffinity(0))
    converting = _converting(timed, billion, theirs)
    peer = timed(LLAMA_QUANTIZE, converted, theirs, ftype, cores)
    theirs.unlink()
    arguments = ["edgepack", "quantize", billion, "--scheme", scheme, "-o", tmp_path / "ours.gguf"]
    runs = []

    def ours():
        (tmp_path / "ours.gguf").unlink(missing_ok=True)
        runs.append(timed(*arguments))

    benchmark.pedantic(ours, rounds=ROUNDS, warmup_rounds=1)
    own = min(run.seconds for run in runs)
    copied = copying(billion / "model.safetensors", tmp_path / "copy")
    benchmark.extra_info["times_llama_quantize"] = peer.seconds / own
    benchmark.extra_info["times_a_copy"] = own / copied
    if converting is not None:
        whole = converting + peer.seconds
        benchmark.extra_info["times_convert_and_quantize"] = whole / own
        print(
            f"\nllama.cpp: {converting:.1f} s to convert, {peer.seconds:.1f} s to quantize, "
            f"{whole / own:.1f} times"
        )
    print(
        f"\n{scheme}: {own:.1f} s, {max(run.megabytes for run in runs):.0f} MB peak; llama.cpp's "
        f"second step alone {peer.seconds:.1f} s ({peer.seconds / own:.1f} times), "
        f"{peer.megabytes:.0f} MB; {own / copied:.1f} times a copy of the checkpoint"
    )


def _converting(timed, model, out):
    """Seconds of llama.cpp's first step, None where it is not here."""
    script, python = os.environ.get("LLAMA_CONVERT"), os.environ.get("LLAMA_CONVERT_PYTHON")
    if not script or not python:
        return None
    seconds = timed(LLAMA_CONVERT, script, model, out, python=python).seconds
    out.unlink()
    return seconds


@pytest.mark.oracle
def test_from_a_gguf(benchmark, timed, billion, converted, tmp_path):
    """The same file in, the same file out; then the report on it."""
    theirs, out = tmp_path / "theirs.gguf", tmp_path / "ours.gguf"
    peer = timed(LLAMA_QUANTIZE, converted, theirs, 15, len(os.sched_getaffinity(0)))
    arguments = ["edgepack", "quantize", converted, "--scheme", "Q4_K_M", "-o", out, "--force"]
    runs = []
    benchmark.pedantic(lambda: runs.append(timed(*arguments)), rounds=ROUNDS, warmup_rounds=1)
    assert filecmp.cmp(out, theirs, shallow=False)
    own = min(run.seconds for run in runs)
    report = timed("edgepack", "report", out, "--reference", billion)
    benchmark.extra_info["times_llama_quantize"] = peer.seconds / own
    print(
        f"\nBF16 GGUF to Q4_K_M: {own:.1f} s, {max(run.megabytes for run in runs):.0f} MB peak; "
        f"llama.cpp {peer.seconds:.1f} s ({peer.seconds / own:.1f} times), "
        f"{peer.megabytes:.0f} MB; report {report.seconds:.1f} s, {report.megabytes:.0f} MB"
    )


def test_cores(benchmark, timed, billion, tmp_path):
    """As many cores as there are against one; the whole command, its start included."""
    out = tmp_path / "ours.gguf"
    arguments = ["edgepack", "quantize", billion, "--scheme", "Q4_K_M", "-o", out, "--force"]
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(every)})
    try:
        one = timed(*arguments)
    finally:
        os.sched_setaffinity(0, every)
    runs = []
    benchmark.pedantic(lambda: runs.append(timed(*arguments)), rounds=ROUNDS)
    own = min(run.seconds for run in runs)
    benchmark.extra_info["times_one_core"] = one.seconds / own
    print(
        f"\nQ4_K_M: {len(every)} cores are {one.seconds / own:.2f} times one ({one.seconds:.1f} s)"
    )


def copying(source, target):
    """Seconds to copy a file through memory, as a conversion must."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter()
        with source.open("rb") as read, target.open("wb") as write:
            shutil.copyfileobj(read, write, 1 << 22)
        best = min(best, time.perf_counter() - start)
        target.unlink()
    return best
