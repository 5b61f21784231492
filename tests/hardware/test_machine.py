"""Where a model would run, and what it finds there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgepack.errors import UsageError
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


@pytest.mark.parametrize(
    ("accelerators", "places"),
    [
        ((), [("CPU", 20, 50)]),
        ((gpu(24, 22, 1000),), [("gpu", 22, 1000)]),  # the host could hold no more
        ((gpu(2, 2, 300),), [("gpu", 2, 300), ("CPU", 20, 50)]),
        ((gpu(2, 2, None, unified=True),), [("gpu", 2, 50), ("CPU", 20, 50)]),
        ((gpu(None, None, 300),), [("CPU", 20, 50)]),
        ((gpu(2, 1, 300), gpu(4, 0, 900)), [("gpu", 1, 300), ("CPU", 20, 50)]),
    ],
)
def test_places_come_best_first(accelerators, places):
    hardware = replace(HOST, accelerators=accelerators)
    found = [(p.name, p.memory.value, p.bandwidth.value) for p in hardware.places]
    assert found == places


def test_a_card_alone_is_one_place():
    card = replace(HOST, available=NOTHING, accelerators=(gpu(24, 22, 1000),))
    assert [place.name for place in card.places] == ["gpu"]
    assert replace(card, accelerators=()).places == ()


@pytest.mark.parametrize(
    ("accelerators", "rate"),
    [((), 50), ((gpu(24, 22, 1000), gpu(2, 2, 300)), 1000), ((gpu(None, None, 300),), 50)],
)
def test_stated_memory_changes_nothing_else(accelerators, rate):
    stated = replace(HOST, accelerators=accelerators).with_model_memory(figure(6, "profile"))
    assert stated.model_memory() == Figure(6, "profile")
    assert stated.model_bandwidth().value == rate
    assert len(stated.accelerators) == len(accelerators)


def test_stated_memory_is_that_of_each_card_and_leaves_the_host():
    integrated = replace(gpu(10, None, None, unified=True), name="integrated")
    machine = replace(HOST, accelerators=(gpu(24, 22, 1000), integrated, gpu(24, 20, 1000)))
    stated = machine.with_model_memory(figure(6, "profile"))
    assert [card.memory.value for card in stated.cards] == [6, 6]
    assert stated.accelerators[1] == integrated
    assert stated.host == HOST.host


def test_stated_memory_is_the_hosts_where_that_is_shared():
    stated = replace(HOST, accelerators=(gpu(10, None, None, unified=True),)).with_model_memory(
        figure(6, "profile")
    )
    assert stated.accelerators[0].usable.value == stated.host.memory.value == 6


def test_figures_for_several_kinds_of_card_are_refused():
    other = replace(gpu(12, 12, 300), name="other")
    machine = replace(HOST, accelerators=(gpu(24, 22, 1000), other))
    for state in (machine.with_model_memory, machine.with_model_bandwidth):
        with pytest.raises(UsageError, match="stated for gpu and other"):
            state(figure(6, "profile"))


def test_a_cards_stated_bandwidth_is_not_shared_memorys():
    integrated = replace(gpu(30, None, 60, unified=True), name="integrated")
    machine = replace(HOST, accelerators=(gpu(24, 22, 1000), integrated))
    stated = machine.with_model_bandwidth(Figure(900, "profile"))
    assert stated.cards[0].bandwidth.value == 900
    assert stated.accelerators[1] == integrated
    assert stated.bandwidth == HOST.bandwidth


def test_stated_bandwidth_is_that_of_where_the_model_runs():
    stated = Figure(900, "profile")
    assert HOST.with_model_bandwidth(stated).model_bandwidth() == stated
    cards = replace(HOST, accelerators=(gpu(24, 22, 1000), gpu(2, 2, 300)))
    found = cards.with_model_bandwidth(stated)
    assert found.model_bandwidth() == stated
    assert found.bandwidth.value == 50  # a card's memory is not the host's
    shared = replace(HOST, accelerators=(gpu(10, None, None, unified=True),))
    assert [p.bandwidth for p in shared.with_model_bandwidth(stated).places] == [stated, stated]


def test_a_place_has_its_processors_compute():
    counted = replace(gpu(2, 2, 300), compute=Figure(7, "profile"))
    host = replace(HOST, cpu=replace(HOST.cpu, compute=Figure(1, "profile")))
    places = replace(host, accelerators=(counted,)).places
    assert [place.compute.value for place in places] == [7, 1]
    assert HOST.places[0].compute == NOTHING


def test_what_is_taken_is_taken_from_its_own_place():
    def known(value):
        return Figure(value, "profile")

    def card(name, unified=False):
        return Accelerator(name, "nvidia", known(100), known(100), known(1), unified)

    plain = hardware(known(500), card("one"), card("one"), card("two"))
    left = plain.without([("one", 30), ("one", 40), ("CPU", 50)])
    assert [a.usable.value for a in left.accelerators] == [70, 60, 100]
    assert left.available.value == 450
    shared = hardware(known(500), card("chip", unified=True))
    assert shared.without([("chip", 30)]).available.value == 470
    assert shared.without([("CPU", 30)]).accelerators[0].usable.value == 70


def hardware(available, *accelerators):
    unknown = Figure(None, "unknown")
    return Hardware(
        name="test",
        cpu=Cpu(unknown, (), unknown),
        memory=available,
        available=available,
        bandwidth=unknown,
        accelerators=accelerators,
        unified_memory=any(a.unified for a in accelerators),
        disk_free=unknown,
    )
