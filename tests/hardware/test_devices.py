"""Profiles: found by name, the user's before those that ship; a broken one says what and where."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from edgepack.errors import UsageError
from edgepack.hardware import profile, profile_text, profiles
from edgepack.hardware.devices import read_profile, shipped_accelerators
from edgepack.hardware.isa import NAMES, instruction_sets

MIB, GIB = 1024**2, 1024**3


@pytest.mark.parametrize("name", ["RTX 4090", "rtx_4090", " Rtx-4090 ", "rtx - 4090"])
def test_names_are_found_however_they_are_spaced(name):
    assert profile(name).name == "rtx-4090"


def test_a_profile_is_shown_with_its_sources():
    text = profile_text("RTX 4090")
    assert text == (Path(__file__).parents[2] / "profiles/devices/rtx-4090.toml").read_text("utf-8")
    with pytest.raises(UsageError, match="unknown device"):
        profile_text("rtx-4091")


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
            toml(memory="total_mib = 8\nbandwidth_gb_s = 1e300"),
            "{file} [memory]: bandwidth_gb_s is 1e+300",
            "to 1,000,000",
        ),
        (
            toml(memory="total_mib = 8\nbandwidth_gb_s = 1e-300"),
            "{file} [memory]: bandwidth_gb_s is 1e-300",
            "from 1e-06",
        ),
        (
            toml(memory="total_mib = 8\nbus_bits = 999999999\ngbps = 1"),
            "{file} [memory]: bus_bits is 999999999",
            "at most 65,536",
        ),
        (
            toml(memory="total_mib = 8796093022209"),
            "{file} [memory]: total_mib is 8796093022209",
            "at most 8,796,093,022,208",
        ),
        (toml(cpu="compute_tflops = 1e300"), "{file} [cpu]: compute_tflops is 1e+300", "from"),
        ("a = " + "[" * 9999 + "]" * 9999, "{file}: ", "a TOML file"),
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
        (
            toml(memory="total_mib = 8\nbandwidth_gb_s = 336\nbus_bits = 128\ngbps = 28"),
            "{file} [memory]: bandwidth_gb_s is 336",
            "128 bits at 28 Gbps are 448 GB/s",
        ),
        (toml(memory="total_mib = 8\nbus_bits = 12.5"), "{file} [memory]: bus_bits is", "whole"),
        (toml(cpu="compute_tflops = 0"), "{file} [cpu]: compute_tflops is 0", "above zero"),
        (toml() + "[[npus]]\ntops = 45\n", "{file} [[npus]]: name is missing", "has one"),
        (
            toml() + '[[npus]]\nname = "x"\ntop = 45\n',
            "unknown key in {file} [[npus]]: 'top'",
            "did you mean 'tops'?",
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


def test_bus_and_data_rate_are_a_bandwidth(tmp_path):
    (tmp_path / "mine.toml").write_text(toml(memory="total_mib = 8\nbus_bits = 128\ngbps = 5.6"))
    assert read_profile("mine", tmp_path / "mine.toml").bandwidth.value == 89_600_000_000


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


def test_a_users_file_is_named_as_it_is_asked_for(user_folder):
    (user_folder / "My Board.toml").write_text(toml())
    (user_folder / "RTX_4090.toml").write_text(toml(memory="total_mib = 4096"))
    assert "my-board" in profiles()
    assert profile("My Board").name == "my-board"
    assert profile("rtx-4090").model_memory().value == 4096 * MIB


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


def test_a_broken_profile_of_the_user_spoils_no_other(user_folder):
    (user_folder / "bad.toml").write_text("[")
    assert shipped_accelerators("NVIDIA GeForce RTX 5060")[0].bandwidth.value == 448 * 10**9
    assert profile("pi5-8gb").memory.value == 8 * GIB


def test_instruction_sets_have_one_order():
    assert instruction_sets(["FMA", "asimd", "AVX512_VNNI", "nonsense", "avx2"]) == (
        "AVX2",
        "AVX-512 VNNI",
        "FMA",
        "NEON",
    )
    assert len(set(NAMES)) == len(NAMES)
