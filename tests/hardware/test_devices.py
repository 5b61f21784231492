"""Profiles: every shipped one loads, every broken one says what is wrong and where."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import pytest

from edgepack.errors import UsageError
from edgepack.hardware import profile, profiles
from edgepack.hardware.devices import read_profile, sheet_bandwidth
from edgepack.hardware.isa import NAMES, instruction_sets
from edgepack.hardware.machine import Accelerator, Figure

MIB, GIB = 1024**2, 1024**3

# Bus width in bits x data rate in GT/s / 8, from the vendors' sheets, worked out by hand.
BANDWIDTH = {
    "rtx-4090": 384 * 21 / 8,
    "rtx-4060": 128 * 17 / 8,
    "rtx-3060-12gb": 192 * 15 / 8,
    "rtx-5060": 448,
    "pi5-8gb": 32 * 4.267 / 8,
    "jetson-orin-nano-8gb": 102,
    "mac-mini-m4-16gb": 120,
    "macbook-air-m3-8gb": 100,
    "snapdragon-x-elite-16gb": 135,
    "cpu-8gb-ddr4": 64 * 3.2 / 8,
    "cpu-16gb-ddr5": 128 * 4.8 / 8,
}


def test_at_least_twelve_ship():
    assert len(profiles()) >= 12
    assert list(profiles()) == sorted(profiles())


@pytest.mark.parametrize("name", profiles())
def test_shipped_profile_states_what_fit_needs(name):
    device = profile(name)
    assert device.name == name
    memory, bandwidth = device.model_memory(), device.model_bandwidth()
    assert memory.origin == bandwidth.origin == "profile"
    assert memory.value is not None
    assert bandwidth.value is not None
    assert 2 * GIB < memory.value < 512 * GIB
    assert 10**10 < bandwidth.value < 10**13


@pytest.mark.parametrize(("name", "sheet"), BANDWIDTH.items())
def test_bandwidth_is_the_data_sheets(name, sheet):
    assert profile(name).model_bandwidth().value == pytest.approx(sheet * 1e9, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "mib"),
    [("pi5-8gb", 8192 - 1024), ("rtx-4090", 24564 - 512), ("mac-mini-m4-16gb", 10922)],
)
def test_reserved_memory_is_taken_off(name, mib):
    assert profile(name).model_memory().value == mib * MIB


PROFILES = Path(__file__).parents[2] / "profiles" / "devices"


@pytest.mark.parametrize("file", sorted(PROFILES.glob("*.toml")), ids=lambda file: file.stem)
def test_every_figure_stands_under_its_source(file):
    """A comment heads each figure, or the run of figures that it is part of."""
    above = ""
    for line in file.read_text("utf-8").splitlines():
        if re.match(r"(physical_cores|\w+_mib|bandwidth_gb_s) =", line):
            assert re.match(r"#|\w+ =", above), f"{line} follows {above!r}"
        above = line


def test_unknown_device_offers_the_nearest():
    with pytest.raises(UsageError, match="unknown device 'rtx4090'") as caught:
        profile("rtx4090")
    assert caught.value.hint == "did you mean 'rtx-4090'?"


@pytest.mark.parametrize("name", ["../pi5-8gb", "/etc/passwd", "", "pi5-8gb.toml"])
def test_a_name_is_not_a_path(name):
    with pytest.raises(UsageError, match="unknown device"):
        profile(name)


GOOD = {"memory": "total_mib = 8192\nreserved_mib = 1024\nbandwidth_gb_s = 17"}


def toml(**tables: str) -> str:
    return "".join(f"[{name}]\n{body}\n" for name, body in {**GOOD, **tables}.items())


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("memory_mib = 4\n", "unknown key in {file}: 'memory_mib'", "did you mean 'memory'?"),
        (
            toml(memory="total_mib = 1\nbandwith_gb_s = 17"),
            "unknown key in {file} [memory]: 'bandwith_gb_s'",
            "did you mean 'bandwidth_gb_s'?",
        ),
        (toml(memory="total_mib = -8"), "{file} [memory]: total_mib is -8", "whole number above"),
        (toml(memory="total_mib = 8.5"), "{file} [memory]: total_mib is 8.5", "whole number"),
        (toml(memory="total_mib = true"), "{file} [memory]: total_mib is True", "whole number"),
        (toml(memory='total_mib = "8G"'), "{file} [memory]: total_mib is '8G'", "whole number"),
        (
            toml(memory="total_mib = 8\nbandwidth_gb_s = -1"),
            "{file} [memory]: bandwidth_gb_s is -1",
            "a number above zero",
        ),
        (
            toml(memory="total_mib = 8\nbandwidth_gb_s = inf"),
            "{file} [memory]: bandwidth_gb_s is inf",
            "a number above zero",
        ),
        (
            toml(memory="total_mib = 8\nbandwidth_gb_s = nan"),
            "{file} [memory]: bandwidth_gb_s is nan",
            "a number above zero",
        ),
        (
            toml(memory="total_mib = 8\nreserved_mib = 8"),
            "{file} [memory]: reserved_mib is 8",
            "under total_mib, 8",
        ),
        (toml(memory="bandwidth_gb_s = 17"), "{file}: no memory is stated", "total_mib"),
        ("memory = 8192\n", "{file}: memory is 8192", "[memory]"),
        ("accelerators = 1\n", "{file}: accelerators is 1", "[[accelerators]]"),
        (toml(cpu='isa = "NEON"'), "{file} [cpu]: isa is 'NEON'", "a list"),
        (
            toml(cpu='isa = ["AVX3"]'),
            "unknown instruction set in {file} [cpu]: 'AVX3'",
            "did you mean 'AVX2'?",
        ),
        (toml(cpu="model = 5"), "{file} [cpu]: model is 5", "text in quotes"),
        (toml(cpu="physical_cores = 0"), "{file} [cpu]: physical_cores is 0", "above zero"),
        (
            toml() + '[[accelerators]]\nname = "x"\n',
            "{file} [[accelerators]]: name or vendor is missing",
            "both",
        ),
        (
            toml() + '[[accelerators]]\nname = "x"\nvendor = "nvidea"\n',
            "unknown vendor in {file} [[accelerators]]: 'nvidea'",
            "did you mean 'nvidia'?",
        ),
        (
            toml() + '[[accelerators]]\nname = "x"\nvendor = "amd"\nunified = 1\n',
            "{file} [[accelerators]]: unified is 1",
            "true or false",
        ),
        ("[memory\n", "{file}: ", "TOML"),
    ],
)
def test_broken_profile_says_what_and_where(tmp_path, text, message, hint):
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_profile("mine", file)
    assert caught.value.message.startswith(message.format(file=file))
    assert hint in caught.value.hint


def test_profile_that_is_not_text(tmp_path):
    (tmp_path / "mine.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"mine\.toml"):
        read_profile("mine", tmp_path / "mine.toml")


@pytest.fixture
def user_folder(tmp_path):
    folder = tmp_path / "config" / "edgepack" / "devices"
    folder.mkdir(parents=True)
    return folder


def test_profiles_of_the_user_are_listed_and_win(user_folder):
    (user_folder / "board.toml").write_text(toml())
    (user_folder / "pi5-8gb.toml").write_text(toml(memory="total_mib = 4096"))
    (user_folder / "notes.txt").write_text("not a profile")
    assert "board" in profiles()
    assert "notes" not in profiles()
    assert profile("board").model_memory().value == 7168 * MIB
    assert profile("pi5-8gb").model_memory().value == 4096 * MIB


@pytest.mark.parametrize("folder", ["edgepack/profiles/devices", "profiles/devices"])
def test_shipped_profiles_lie_in_the_wheel_or_beside_the_package(tmp_path, monkeypatch, folder):
    (tmp_path / "edgepack").mkdir()
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "board.toml").write_text(toml())
    monkeypatch.setattr(resources, "files", lambda package: tmp_path / package)
    assert profiles() == ("board",)


def test_home_is_searched_without_xdg(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    folder = tmp_path / ".config" / "edgepack" / "devices"
    folder.mkdir(parents=True)
    (folder / "board.toml").write_text(toml())
    assert "board" in profiles()


def card(name: str, mib: int | None, unified: bool = False) -> Accelerator:
    memory: Figure[int] = Figure(mib * MIB if mib else None, "probed")
    nothing: Figure[int] = Figure(None, "unknown")
    return Accelerator(name, "nvidia", memory, nothing, nothing, unified)


@pytest.mark.parametrize(
    ("accelerator", "expected"),
    [
        (card("NVIDIA GeForce RTX 5060", 8151), 448 * 10**9),
        (card("NVIDIA GeForce RTX 5060 Laptop GPU", 8151), None),
        (card("NVIDIA GeForce RTX 3060", 12288), 360 * 10**9),
        (card("NVIDIA GeForce RTX 3060", 8192), None),  # a narrower bus under the same name
        (card("NVIDIA GeForce RTX 3060", None), None),
        (card("Apple M4", 21845, unified=True), 120 * 10**9),
        (card("Apple M4 Pro", 21845, unified=True), None),
        (card("Quadro M5000", 8192), None),
    ],
)
def test_sheet_bandwidth_is_by_exact_name(accelerator, expected):
    found = sheet_bandwidth(accelerator)
    assert found.value == expected
    assert found.origin == ("profile" if expected else "unknown")


def test_a_broken_profile_of_the_user_spoils_no_other(user_folder):
    (user_folder / "bad.toml").write_text("[")
    assert sheet_bandwidth(card("NVIDIA GeForce RTX 5060", 8151)).value == 448 * 10**9
    assert profile("pi5-8gb").memory.value == 8 * GIB


def test_instruction_sets_have_one_order():
    assert instruction_sets(["FMA", "asimd", "AVX512_VNNI", "nonsense", "avx2"]) == (
        "AVX2",
        "AVX-512 VNNI",
        "FMA",
        "NEON",
    )
    assert len(set(NAMES)) == len(NAMES)
