"""Bandwidth: buffers beyond the caches, bytes counted as STREAM counts them."""

from __future__ import annotations

import itertools

import pytest

from edgepack.hardware import bandwidth
from edgepack.hardware.bandwidth import buffer_bytes, last_level_cache, measured_bandwidth

KIB, MIB, GIB = 1024, 1024**2, 1024**3


@pytest.mark.parametrize(
    ("cache", "available", "expected"),
    [
        (8 * MIB, 16 * GIB, 128 * MIB),  # small cache: the least that times well
        (64 * MIB, 16 * GIB, 256 * MIB),  # four caches
        (64 * MIB, 2 * GIB - 512 * MIB, 192 * MIB),  # an eighth of what is free: three caches
        (64 * MIB, GIB, 128 * MIB),  # two caches: the last that will do
        (64 * MIB, GIB - 8, 0),  # fewer would be timing the cache
        (8 * MIB, 0, 0),
    ],
)
def test_buffer_bytes(cache, available, expected):
    assert buffer_bytes(cache, available) == expected


def caches(cpu: int, third: str, shared: str) -> dict[str, str]:
    folder = f"sys/devices/system/cpu/cpu{cpu}/cache"
    return {
        f"{folder}/index0/size": "32K",
        f"{folder}/index2/size": "1024K",
        f"{folder}/index3/size": third,
        f"{folder}/index3/shared_cpu_list": shared,
    }


def test_last_level_caches_of_several_dies_add_up(make_host):
    files = {
        **caches(0, "32768K", "0-1"),
        **caches(1, "32768K", "0-1"),
        **caches(2, "32768K", "2-3"),
        **caches(3, "32768K", "2-3"),
    }
    assert last_level_cache(make_host(files)) == 64 * MIB


def test_cache_that_is_not_told_is_assumed(make_host):
    assert last_level_cache(make_host()) == bandwidth.ASSUMED_CACHE


def test_too_little_memory_is_unknown(make_host):
    found = measured_bandwidth(make_host(caches(0, "32768K", "0")), 1, 64 * MIB)
    assert (found.value, found.origin) == (None, "unknown")
    assert measured_bandwidth(make_host(), 1, None).value is None


@pytest.mark.parametrize("threads", [1, 3])
def test_rate_counts_bytes_read_and_written(make_host, monkeypatch, threads):
    """A clock that ticks 1/64 s a reading: each pass lasts one tick."""
    ticks = itertools.count()
    monkeypatch.setattr(bandwidth.time, "perf_counter", lambda: next(ticks) / 64)
    monkeypatch.setattr(bandwidth, "SMALLEST_BUFFERS", 6 * MIB)
    found = measured_bandwidth(make_host(caches(0, "1024K", "0")), threads, GIB)
    # Source and target are 3 MiB each: 3 MiB read and 3 MiB written in 1/64 s.
    assert found.value == 6 * MIB * 64
    assert found.origin == "measured"


@pytest.mark.parametrize(
    ("clock", "best"),
    [
        ([0, 0.12, 0.14, 0.14, 0.15, 0.15, 0.17], 0.01),  # the touching took all of 0.1 s
        ([0, 0.01, 0.06, 0.06, 0.1, 0.1, 0.13], 0.03),  # two passes did
        ([0, 0.1, 0.25, 0.25, 0.37], 0.12),  # three would take too long
        ([0, 0.9, 1.4], 0.5),  # and here one did
    ],
)
def test_three_passes_are_timed_unless_that_takes_long(make_host, monkeypatch, clock, best):
    readings = iter(clock)
    monkeypatch.setattr(bandwidth.time, "perf_counter", lambda: next(readings))
    monkeypatch.setattr(bandwidth, "SMALLEST_BUFFERS", 2 * MIB)
    found = measured_bandwidth(make_host(caches(0, "256K", "0")), 1, GIB)
    assert found.value == pytest.approx(2 * MIB / best)
    assert next(readings, None) is None


def test_this_machine_is_within_reason(make_host):
    """Slower than a first Raspberry Pi or faster than HBM would be a mistake in the arithmetic."""
    found = measured_bandwidth(make_host(caches(0, "8192K", "0")), 1, GIB)
    assert found.value is not None
    assert 2 * 10**8 < found.value < 5 * 10**12
