"""Profiles: every shipped one loads, every broken one says what is wrong and where."""

from __future__ import annotations

import re
import tomllib
from importlib import resources
from pathlib import Path

import pytest

from edgepack.errors import UsageError
from edgepack.hardware import profile, profile_text, profiles
from edgepack.hardware.devices import plain_name, read_profile, sheet_bandwidth
from edgepack.hardware.isa import NAMES, instruction_sets
from edgepack.hardware.machine import Accelerator, Figure, Npu

MIB, GIB = 1024**2, 1024**3

# GB/s from the vendors' sheets, not from the profiles: a bus's bits x GT/s / 8 where a sheet gives
# those.
BANDWIDTH = {
    "rtx-4090": 384 * 21 / 8,
    "rtx-4060": 128 * 17 / 8,
    "rtx-3060-12gb": 192 * 15 / 8,
    "rtx-3090": 936,
    "rtx-3080-10gb": 760,
    "rtx-4070-ti-super": 672,
    "rtx-5060": 448,
    "rtx-5080": 960,
    "rtx-5090": 1792,
    "rtx-4060-laptop": 256,
    "rtx-4070-laptop": 256,
    "rtx-4090-laptop": 576,
    "rtx-5070-ti-laptop": 672,
    "rtx-5090-laptop": 896,
    "l40s": 864,
    "h100-80gb": 3350,
    "rx-7900-xtx": 960,
    "rx-9070-xt": 640,
    "arc-b580": 456,
    "ryzen-ai-max-395-128gb": 256,
    "pi5-8gb": 32 * 4.267 / 8,
    "pi5-16gb": 32 * 4.267 / 8,
    "jetson-orin-nano-8gb": 102,
    "jetson-agx-orin-64gb": 204.8,
    "mac-mini-m4-16gb": 120,
    "mac-mini-m4-pro-48gb": 273,
    "macbook-air-m1-8gb": 68.25,
    "macbook-air-m3-8gb": 100,
    "macbook-pro-m3-max-36gb": 300,
    "macbook-pro-m3-max-64gb": 400,
    "macbook-pro-m4-max-36gb": 410,
    "macbook-pro-m4-max-64gb": 546,
    "macbook-pro-m5-max-128gb": 614,
    "mac-studio-m2-ultra-192gb": 800,
    "snapdragon-x-elite-16gb": 135,
    "cpu-8gb-ddr4": 64 * 3.2 / 8,
    "cpu-16gb-ddr5": 128 * 4.8 / 8,
}


def test_a_hundred_ship():
    assert len(profiles()) >= 100
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
    assert 10**10 < bandwidth.value < 4 * 10**12


@pytest.mark.parametrize("name", profiles())
def test_shipped_figures_agree_with_each_other(name):
    device = profile(name)
    gigabytes = re.search(r"(\d+)gb", name)
    if gigabytes:  # a driver may keep a fifteenth for itself
        whole = device.memory.value or device.accelerators[0].memory.value or 0
        assert 0.93 < whole / (int(gigabytes[1]) * GIB) <= 1
    for accelerator in device.accelerators:
        assert ("Laptop" in accelerator.name) == ("laptop" in name)
        assert accelerator.unified == device.unified_memory == (device.memory.value is not None)
        if accelerator.unified:  # one memory has one bandwidth, and holds what the GPU may use
            assert accelerator.bandwidth == device.bandwidth
            assert (accelerator.memory.value or 0) <= (device.memory.value or 0)
        if accelerator.compute.value is not None:  # operations per byte of a GPU since 2020
            assert 15 < accelerator.compute.value / (accelerator.bandwidth.value or 1) < 1000


@pytest.mark.parametrize(("name", "sheet"), BANDWIDTH.items())
def test_bandwidth_is_the_data_sheets(name, sheet):
    assert profile(name).model_bandwidth().value == pytest.approx(sheet * 1e9, rel=2e-3)


@pytest.mark.parametrize(
    ("name", "mib"),
    [("pi5-8gb", 8192 - 1024), ("rtx-4090", 24564 - 512), ("mac-mini-m4-16gb", 12124)],
)
def test_reserved_memory_is_taken_off(name, mib):
    assert profile(name).model_memory().value == mib * MIB


@pytest.mark.parametrize(
    ("name", "tflops"),
    [
        # NVIDIA's whitepapers and data sheets, dense FP16
        ("rtx-3090", 142),
        ("rtx-4090", 330.3),
        ("rtx-5090", 419),
        ("a100-80gb", 312),
        ("h100-80gb", 989.4),
        # from TOPS of other types
        ("rtx-4060", 242 / 4),
        ("rtx-5080", 1801 / 8),
        ("jetson-orin-nano-8gb", 67 / 4),
        # 40 compute units x 512 operations x 2.9 GHz
        ("ryzen-ai-max-395-128gb", 59.392),
    ],
)
def test_compute_is_dense_half_precision(name, tflops):
    compute = profile(name).places[0].compute
    assert compute.origin == "profile"
    assert compute.value == pytest.approx(tflops * 1e12, rel=5e-3)


def test_cpu_has_compute_too():
    board = profile("pi5-8gb")
    assert board.cpu.compute.value == board.places[0].compute.value == 307 * 10**9


def test_npus_are_named_and_hold_no_model():
    laptop = profile("snapdragon-x-elite-16gb")
    assert laptop.npus == (Npu("Qualcomm Hexagon", Figure(45.0, "profile")),)
    assert [place.name for place in laptop.places] == ["CPU"]
    assert profile("iphone-16-pro").npus[0].tops == Figure(None, "unknown")
    assert profile("rtx-4090").npus == ()


PROFILES = Path(__file__).parents[2] / "profiles" / "devices"
FILES = sorted(PROFILES.glob("*.toml"))
FIGURE = re.compile(r"(?:physical_cores|\w+_mib|bandwidth_gb_s|bus_bits|gbps|\w+_tflops|tops) = ")
# A document, a program's report, or a reference to one that stands above.
SOURCE = re.compile(
    r"https?://|[Dd]ata sheet|[Ww]hitepaper|JEDEC|Reference Manual|Guide|nvidia-smi|llama\.cpp"
    r"|device_info|ROCm|teardown|Technical Brief|Xcode"
    r"|(?:[Ss]ame|[Pp]roduct|above) (?:page|brief)|page (?:above|says)"
)
# What no sheet has: a share of memory that is allowed for, the make-up of a class of computers, and
# what shared memory has in common with the figure above it.
OWN = re.compile(
    r"An allowance|Typical of the class|modules?\.$|(?:common|smallest) size|idle cards"
    r"|That of the unified memory|the same figures|limit above"
)


def sourced_figures(file: Path) -> list[tuple[str, str]]:
    """(line with a figure, the comment that heads its run of lines)."""
    found, comment, within = [], "", False
    for line in file.read_text("utf-8").splitlines():
        if line.startswith("#"):
            comment = f"{comment} {line[1:].strip()}" if within else line[1:].strip()
            within = True
            continue
        within = False
        if FIGURE.match(line):
            found.append((line, comment))
        elif not re.match(r"\w+ = ", line):
            comment = ""
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_figure_stands_under_its_source(file):
    """A comment heads each figure, or the run of figures that it is part of, and says where it is
    from."""
    figures = sourced_figures(file)
    assert figures
    for line, comment in figures:
        assert SOURCE.search(comment) or OWN.search(comment), f"{line} stands under {comment!r}"
    assert SOURCE.search(file.read_text("utf-8"))


def test_a_figure_without_its_source_would_be_found(tmp_path):
    (tmp_path / "bare.toml").write_text(
        "# A board.\n\n[memory]\ntotal_mib = 4\n# Fast.\ngbps = 2\n"
    )
    assert sourced_figures(tmp_path / "bare.toml") == [("total_mib = 4", ""), ("gbps = 2", "Fast.")]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_bandwidth_is_bus_times_data_rate(file):
    """Recomputed here from the file itself, for each table that states all three."""
    content = tomllib.loads(file.read_text("utf-8"))
    for table in [content.get("memory", {}), *content.get("accelerators", [])]:
        if "bus_bits" in table or "gbps" in table:
            product = table["bus_bits"] * table["gbps"] / 8
            assert table["bandwidth_gb_s"] == pytest.approx(product, rel=5e-3)  # as sheets round


def test_names_are_typed_as_they_are_listed():
    for file in FILES:
        assert file.stem == plain_name(file.stem)
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", file.stem)
    bare = [file.stem.replace("-", "") for file in FILES]
    assert len(set(bare)) == len(bare)


@pytest.mark.parametrize("name", ["RTX 4090", "rtx_4090", " Rtx-4090 ", "rtx - 4090"])
def test_names_are_found_however_they_are_spaced(name):
    assert profile(name).name == "rtx-4090"


def test_a_profile_is_shown_with_its_sources():
    text = profile_text("RTX 4090")
    assert text == (PROFILES / "rtx-4090.toml").read_text("utf-8")
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
