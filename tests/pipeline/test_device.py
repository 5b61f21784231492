"""Which hardware a question is about, and what figures given by hand change of it."""

from __future__ import annotations

import pytest

from edgepack import hardware
from edgepack.pipeline.device import Target

GIB = 1024**3


def test_a_device_as_its_profile_states_it():
    assert Target("rtx-4090").hardware() == hardware.profile("rtx-4090")
    assert len(Target("2x rtx-4090").hardware().accelerators) == 2


def test_stated_memory_keeps_the_bandwidth():
    found = Target("rtx-4090", 10 * GIB).hardware()
    assert found.model_memory().value == 10 * GIB
    assert found.model_bandwidth() == hardware.profile("rtx-4090").model_bandwidth()
    assert found.name == "rtx-4090, 10240 MiB stated"


def test_stated_memory_keeps_the_rest_of_the_machine():
    cards = Target("2x rtx-4090", 24 * GIB).hardware()
    assert [card.memory.value for card in cards.cards] == [24 * GIB, 24 * GIB]
    assert cards.host.memory.value is None
    laptop = Target("rtx-4060 + ryzen-7-8840u-32gb", 6 * GIB).hardware()
    assert [card.name for card in laptop.cards] == ["NVIDIA GeForce RTX 4060"]
    assert laptop.cards[0].memory.value == 6 * GIB
    computer = Target("rtx-4060 + cpu-32gb-ddr5", 4 * GIB).hardware()
    assert computer.host == hardware.profile("cpu-32gb-ddr5").host


def test_stated_bandwidth_keeps_the_memory():
    found = Target("rtx-4090", bandwidth=500 * 10**9).hardware()
    assert found.model_bandwidth() == hardware.Figure(500 * 10**9, "profile")
    assert found.model_memory() == hardware.profile("rtx-4090").model_memory()
    assert found.name == "rtx-4090, 500.0 GB/s stated"


def test_both_describe_a_device_that_nobody_named(monkeypatch):
    monkeypatch.setattr(hardware, "detect", lambda **_: pytest.fail("this machine was asked"))
    found = Target(None, 24 * GIB, 936_200_000_000).hardware()
    assert found.model_memory() == hardware.Figure(24 * GIB, "profile")
    assert found.model_bandwidth() == hardware.Figure(936_200_000_000, "profile")
    assert found.accelerators == ()
    assert len(found.places) == 1
    assert found.name == "a device, 24576 MiB and 936.2 GB/s stated"


@pytest.mark.parametrize(
    ("target", "measured"),
    [(Target(), True), (Target(memory_bytes=GIB), True), (Target(bandwidth=10**9), False)],
)
def test_this_machine_is_measured_where_its_bandwidth_is_not_stated(monkeypatch, target, measured):
    asked = []

    def detect(*, measure_bandwidth: bool) -> hardware.Hardware:
        asked.append(measure_bandwidth)
        return hardware.profile("pi5-8gb")

    monkeypatch.setattr(hardware, "detect", detect)
    target.hardware()
    assert asked == [measured]
    target.hardware(measure=False)
    assert asked == [measured, False]
