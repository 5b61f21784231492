"""Where a model would run, and what it finds there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgepack.hardware.machine import Accelerator, Cpu, Figure, Hardware, figure

NOTHING: Figure[int] = Figure(None, "unknown")
HOST = Hardware(
    name="host",
    cpu=Cpu(Figure(None, "unknown"), (), NOTHING),
    memory=Figure(32, "probed"),
    available=Figure(20, "probed"),
    bandwidth=Figure(50, "measured"),
    accelerators=(),
    unified_memory=False,
    disk_free=NOTHING,
)


def gpu(memory: int | None, free: int | None, rate: int | None, unified: bool = False):
    return Accelerator(
        "gpu",
        "nvidia",
        figure(memory, "probed"),
        figure(free, "probed"),
        figure(rate, "probed"),
        unified,
    )


@pytest.mark.parametrize(
    ("accelerators", "memory", "bandwidth"),
    [
        ((), 20, 50),
        ((gpu(24, 22, 1000),), 22, 1000),
        ((gpu(24, None, 1000),), 24, 1000),
        ((gpu(12, 12, 300), gpu(24, 20, 1000)), 20, 1000),
        ((gpu(24, 2, 1000), gpu(12, 12, 300)), 12, 300),  # the larger is in use
        ((gpu(24, 22, None),), 22, None),  # a card's bandwidth is not the host's
        ((gpu(10, None, None, unified=True),), 10, 50),  # unified memory's is
        ((gpu(None, None, None, unified=True),), 20, 50),  # integrated, does not tell
    ],
)
def test_place_of_the_model(accelerators, memory, bandwidth):
    hardware = replace(HOST, accelerators=accelerators)
    assert hardware.model_memory().value == memory
    assert hardware.model_bandwidth().value == bandwidth


def test_a_full_card_has_nothing_left_but_is_known():
    assert replace(HOST, accelerators=(gpu(24, 0, 1000),)).model_memory().value == 0


def test_assumption_keeps_its_origin():
    assumed = replace(gpu(None, None, None, unified=True), memory=Figure(10, "unknown"))
    found = replace(HOST, accelerators=(assumed,)).model_memory()
    assert (found.value, found.origin) == (10, "unknown")


def test_nothing_found_has_no_origin():
    assert figure(None, "probed").origin == "unknown"
    assert figure(0, "probed").origin == "probed"
