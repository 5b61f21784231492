"""What data sheets say of an accelerator that was found, by its exact name."""

from __future__ import annotations

import pytest

from edgepack.hardware.machine import Accelerator, Figure
from edgepack.hardware.sheets import sheet_bandwidth, sheet_compute, with_sheet_figures

MIB = 1024**2


def card(name: str, mib: int | None, unified: bool = False) -> Accelerator:
    memory: Figure[int] = Figure(mib * MIB if mib else None, "probed")
    nothing: Figure[int] = Figure(None, "unknown")
    return Accelerator(name, "nvidia", memory, nothing, nothing, unified)


@pytest.mark.parametrize(
    ("accelerator", "expected"),
    [
        (card("NVIDIA GeForce RTX 5060", 8151), 448 * 10**9),
        (card("NVIDIA GeForce RTX 5060 Laptop GPU", 8151), 384 * 10**9),
        (card("NVIDIA GeForce RTX 3070 Laptop GPU", 8192), None),
        (card("NVIDIA GeForce RTX 3060", 12288), 360 * 10**9),
        (card("NVIDIA GeForce RTX 3060", 8192), None),  # a narrower bus under the same name
        (card("NVIDIA GeForce RTX 3060", None), None),
        (card("Apple M4", 21845, unified=True), 120 * 10**9),
        (card("Apple M4", None, unified=True), 120 * 10**9),
        (card("Apple M6 Pro", 21845, unified=True), None),
        (card("Apple M3 Max", 27648, unified=True), 300 * 10**9),  # 36 GB has 30 cores,
        (card("Apple M3 Max", 49152, unified=True), 400 * 10**9),  # 64 GB has 40,
        (card("Apple M3 Max", 73728, unified=True), None),  # and 96 GB no profile
        (card("Orin (nvgpu)", None, unified=True), None),  # three modules of one name
        (card("NVIDIA GeForce RTX 5090", 32607), 1792 * 10**9),
        (card("NVIDIA GeForce RTX 5090 Laptop GPU", 24463), 896 * 10**9),
        (card("Quadro M5000", 8192), None),
    ],
)
def test_sheet_bandwidth_is_by_exact_name(accelerator, expected):
    found = sheet_bandwidth(accelerator)
    assert found.value == expected
    assert found.origin == ("profile" if expected else "unknown")


@pytest.mark.parametrize(
    ("accelerator", "expected"),
    [
        (card("NVIDIA GeForce RTX 4090", 24564), 330_300_000_000_000),
        (card("NVIDIA GeForce RTX 4090 Laptop GPU", 16376), 171_500_000_000_000),
        (card("NVIDIA GeForce RTX 3060", 8192), None),
        (card("Apple M1 Max", 21845, unified=True), None),  # there is one with 24 of its 32 cores
        (card("Quadro M5000", 8192), None),
    ],
)
def test_sheet_compute_is_a_cards(accelerator, expected):
    assert sheet_compute(accelerator).value == expected


def test_what_the_driver_tells_stays():
    told = Accelerator(
        name="NVIDIA GeForce RTX 4090",
        vendor="nvidia",
        memory=Figure(24564 * MIB, "probed"),
        free=Figure(None, "unknown"),
        bandwidth=Figure(7, "probed"),
        unified=False,
    )
    found = with_sheet_figures(told)
    assert found.bandwidth == Figure(7, "probed")
    assert found.compute == Figure(330_300_000_000_000, "profile")
