"""Kernels are cached in the user's cache folder, and work where nothing can be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import edgepack.quant

PROGRAM = """
import numba
import numpy as np
numba.config.CACHE_DIR = ""
from edgepack.quant.encodings import encoding
print(encoding("Q4_0").encode(np.full((1, 32), -8, np.float32)).tobytes().hex())
assert numba.config.CACHE_DIR == "", "the setting of other users of numba changed"
"""
TOLD = """
from edgepack.quant import kernels
with kernels.listening(print):
    from edgepack.quant.kernels import widening
"""
# scale -8/-8 = 1 as float16, all levels 0
EXPECTED = "003c" + "00" * 16


def encoded(cache_home):
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache_home)}
    command = [sys.executable, "-c", PROGRAM]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_compiled_code_lies_in_the_user_cache_folder(tmp_path):
    assert encoded(tmp_path) == EXPECTED
    compiled = sorted(path.name.split("-")[0] for path in tmp_path.rglob("*.nbc"))
    assert compiled == ["q4_0.decode", "q4_0.plain"]
    assert not list(Path(edgepack.quant.__file__).parent.rglob("*.nb[ic]"))

    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc")}
    assert encoded(tmp_path) == EXPECTED
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc")} == stamps


def test_without_a_writable_cache_kernels_still_compile(tmp_path):
    occupied = tmp_path / "file"
    occupied.touch()
    assert encoded(occupied) == EXPECTED


def test_processes_that_compile_at_once_agree(tmp_path):
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM], env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    assert [process.communicate()[0].strip() for process in running] == [EXPECTED] * 2


def test_compiling_is_told_and_loading_is_not(tmp_path):
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, "-c", TOLD]
    first, second = (
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    )
    assert first.split() == ["widening.brain", "widening.magnitude"]
    assert second == ""


def test_a_cache_that_was_cut_off_is_compiled_anew(tmp_path):
    assert encoded(tmp_path) == EXPECTED
    for index in tmp_path.rglob("*.nbi"):
        os.truncate(index, 20)
    assert encoded(tmp_path) == EXPECTED
    assert encoded(tmp_path) == EXPECTED
