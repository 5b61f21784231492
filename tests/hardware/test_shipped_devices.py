"""The profiles that ship: each loads, and each of its figures has a source and can be true."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from edgepack.hardware import profile, profiles
from edgepack.hardware.devices import plain_name
from edgepack.hardware.machine import Figure, Npu

MIB, GIB = 1024**2, 1024**3

# GB/s from the vendors' sheets, not from the profiles: a bus's bits x GT/s / 8 where a sheet gives
# those.
BANDWIDTH = {
    "rtx-4090": 384 * 21 / 8,
    "rtx-4060": 128 * 17 / 8,
    "rtx-3060-12gb": 192 * 15 / 8,
    "rtx-3090": 936,
    "rtx-3080-10gb": 760,
    "rtx-3080-ti": 912,
    "rtx-4070-super": 504,
    "rtx-4080-super": 736,
    "rtx-4050-laptop": 192,
    "rx-7900-xt": 800,
    "tesla-t4": 320,
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
