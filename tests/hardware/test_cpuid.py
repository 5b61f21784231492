"""The slow CPUID probe is asked once."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from edgepack.hardware.cpu import read_cpu
from edgepack.hardware.cpuid import cached_flags


@pytest.fixture
def asked(monkeypatch):
    """py-cpuinfo replaced: each call is recorded."""
    calls: list[int] = []
    fake = ModuleType("cpuinfo")

    def get_cpu_info() -> dict[str, list[str]]:
        calls.append(1)
        return {"flags": ["avx2", "fma", "avx512vnni"]}

    fake.get_cpu_info = get_cpu_info
    monkeypatch.setitem(sys.modules, "cpuinfo", fake)
    return calls


def test_second_question_is_answered_from_disk(tmp_path, asked):
    cache = tmp_path / "deep" / "cpu.json"
    first = cached_flags("Intel Core i9", cache)
    assert cached_flags("Intel Core i9", cache) == first == ("avx2", "fma", "avx512vnni")
    assert len(asked) == 1
    assert [p.name for p in cache.parent.iterdir()] == ["cpu.json"]


def test_another_processor_is_asked_anew(tmp_path, asked):
    cached_flags("Intel Core i9", tmp_path / "cpu.json")
    cached_flags("AMD Ryzen 9", tmp_path / "cpu.json")
    assert len(asked) == 2


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", '{"identity": "x"}', '{"identity":"x","flags":1}']
)
def test_damaged_cache_is_asked_anew(tmp_path, asked, damage):
    (tmp_path / "cpu.json").write_text(damage)
    assert "avx2" in cached_flags("x", tmp_path / "cpu.json")
    assert len(asked) == 1


def test_cache_that_cannot_be_written_costs_only_time(tmp_path, asked):
    (tmp_path / "file").write_text("")
    assert "avx2" in cached_flags("x", tmp_path / "file" / "cpu.json")


def test_without_py_cpuinfo_nothing_is_known(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cpuinfo", None)
    assert cached_flags("x", tmp_path / "cpu.json") == ()
    assert not (tmp_path / "cpu.json").exists()


def test_systems_without_a_cheap_source_use_it(make_host, asked):
    cpu = read_cpu(make_host(platform="win32"))
    assert cpu.isa == ("AVX2", "AVX-512 VNNI", "FMA")
    assert cpu.physical_cores.value is None or cpu.physical_cores.value > 0
