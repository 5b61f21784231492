"""Apple chips: the limit set by hand, Metal's own, or an assumption that says so."""

from __future__ import annotations

import sys

import pytest

from edgepack.hardware.accelerators.apple import accelerators
from edgepack.hardware.accelerators.metal import recommended_working_set

GIB, MIB = 1024**3, 1024**2
M4 = (
    "machdep.cpu.brand_string: Apple M4\nhw.optional.arm64: 1\nhw.memsize: 17179869184\n"
    "iogpu.wired_limit_mb: {limit}\n"
)


def mac(make_host, limit: object = 0, text: str = M4):
    return make_host(programs={"sysctl": text.format(limit=limit)}, platform="darwin")


def test_metal_tells(make_host):
    (gpu,) = accelerators(mac(make_host), lambda: 11453251584)
    assert (gpu.name, gpu.vendor, gpu.unified) == ("Apple M4", "apple", True)
    assert (gpu.memory.value, gpu.memory.origin) == (11453251584, "probed")


def test_limit_set_by_hand_wins(make_host):
    (gpu,) = accelerators(mac(make_host, 14336), lambda: 11453251584)
    assert (gpu.memory.value, gpu.memory.origin) == (14 * GIB, "probed")


@pytest.mark.parametrize("limit", [0, "nonsense"])
def test_without_metal_two_thirds_are_assumed_and_said_to_be(make_host, limit):
    (gpu,) = accelerators(mac(make_host, limit), lambda: None)
    # What Metal gives on 16 GB, as llama.cpp logs it: 10922.67 MiB.
    assert gpu.memory.value == pytest.approx(10922.67 * MIB, rel=1e-6)
    assert gpu.memory.origin == "unknown"


def test_intel_mac_has_none(make_host):
    text = "machdep.cpu.brand_string: Intel(R) Core(TM) i7\nhw.memsize: 17179869184\n"
    assert accelerators(mac(make_host, text=text), lambda: GIB) == ()


def test_other_systems_are_not_asked(make_host):
    assert accelerators(make_host(programs={"sysctl": M4}), lambda: GIB) == ()


@pytest.mark.skipif(sys.platform == "darwin", reason="where Metal is absent")
def test_no_metal_is_none():
    assert recommended_working_set() is None


@pytest.mark.skipif(sys.platform != "darwin", reason="needs Metal")
def test_metal_answers_on_a_mac():
    found = recommended_working_set()
    assert found is None or found > 256 * MIB
