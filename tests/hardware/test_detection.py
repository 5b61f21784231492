"""`detect` as a whole: figures with origins, no heavy import, and never an exception."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgepack.hardware import Hardware, detect
from edgepack.hardware.host import Host, run_program

GIB, MIB = 1024**3, 1024**2
FILES = {
    "proc/cpuinfo": "model name\t: AMD Ryzen 7 7700X 8-Core Processor\nflags\t: avx2 fma\n",
    "proc/meminfo": "MemTotal:  33554432 kB\nMemAvailable:  16777216 kB\n",
    "proc/self/status": "Cpus_allowed_list:\t0-1\n",
}
SMI = "NVIDIA GeForce RTX 4060, 8188, 7700, 580.95.05\n"


@pytest.fixture(autouse=True)
def no_nvml(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)


def test_desktop_with_a_card(make_host, tmp_path):
    found = detect(
        measure_bandwidth=False, path=tmp_path, host=make_host(FILES, {"nvidia-smi": SMI})
    )
    assert found.name == "AMD Ryzen 7 7700X 8-Core Processor + NVIDIA GeForce RTX 4060"
    assert (found.memory.value, found.available.value) == (32 * GIB, 16 * GIB)
    assert found.model_memory().value == 7700 * MIB
    assert found.model_bandwidth().value == 272 * 10**9
    assert found.model_bandwidth().origin == "profile"
    assert found.bandwidth.origin == "unknown"
    assert not found.unified_memory


def test_mac_names_its_chip_once(make_host):
    sysctl = (
        "machdep.cpu.brand_string: Apple M4\nhw.optional.arm64: 1\nhw.memsize: 17179869184\n"
        "iogpu.wired_limit_mb: 12288\n"
    )
    found = detect(measure_bandwidth=False, host=make_host({}, {"sysctl": sysctl}, "darwin"))
    assert found.name == "Apple M4"
    assert found.unified_memory
    assert found.model_memory().value == 12 * GIB
    assert found.model_bandwidth().value == 120 * 10**9


def test_bandwidth_is_measured(make_host):
    found = detect(host=make_host(FILES))
    assert found.bandwidth.origin == "measured"
    assert found.bandwidth.value


def test_disk_free_is_asked_where_the_output_will_be(make_host, tmp_path, monkeypatch):
    asked: list[Path] = []

    def disk_usage(path: Path):
        asked.append(path)
        if not path.exists():
            raise FileNotFoundError(path)
        return shutil._ntuple_diskusage(10, 4, 6)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    found = detect(measure_bandwidth=False, path=tmp_path / "new" / "out", host=make_host())
    assert found.disk_free.value == 6
    assert asked[-1] == tmp_path


def test_disk_that_does_not_answer_is_unknown(make_host, monkeypatch):
    def disk_usage(path: Path):
        raise PermissionError(path)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    assert detect(measure_bandwidth=False, host=make_host()).disk_free.origin == "unknown"


def test_a_machine_that_tells_nothing(make_host):
    found = detect(host=make_host())
    assert found.name == "unknown CPU"
    figures = (found.memory, found.available, found.bandwidth, found.model_memory())
    assert {f.origin for f in figures} == {"unknown"}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_nonsense_in_any_source_is_survived(make_host, data):
    """Files and programs say anything, digits and separators above all."""
    nonsense = st.text(st.sampled_from("0123 9KM:,-/.[]\n\tabNx\0²"), max_size=40)
    names = (*FILES, "proc/self/cgroup", "sys/fs/cgroup/memory.max", "sys/fs/cgroup/cpu.max")
    keys = ("model name\t: ", "MemTotal: ", "Cpus_allowed_list:\t", "0::", "")
    files = {name: data.draw(st.sampled_from(keys)) + data.draw(nonsense) for name in names}
    rows = (
        "A, " + data.draw(nonsense) + "\nhw.optional.arm64: 1\nhw.memsize: " + data.draw(nonsense)
    )
    programs = dict.fromkeys(("nvidia-smi", "sysctl", "lscpu"), rows)
    platform = data.draw(st.sampled_from(["linux", "darwin"]))
    found = detect(measure_bandwidth=False, host=make_host(files, programs, platform))
    assert isinstance(found, Hardware)
    assert found.model_memory().value is None or found.model_memory().value >= 0


def test_this_machine():
    found = detect(measure_bandwidth=False)
    assert found.memory.value is not None
    assert found.available.value is not None
    assert 0 < found.available.value <= found.memory.value
    assert found.cpu.physical_cores.value is None or found.cpu.physical_cores.value > 0


@pytest.mark.parametrize(
    "code",
    [
        "import edgepack.hardware",
        pytest.param(
            "import edgepack.hardware as h; h.detect(measure_bandwidth=False)",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="psutil is used elsewhere"),
        ),
        "import edgepack.hardware as h; h.profile('pi5-8gb')",
    ],
)
def test_nothing_heavy_is_imported(code):
    heavy = "{'numpy', 'psutil', 'cpuinfo', 'numba'} & set(sys.modules)"
    subprocess.run(
        [sys.executable, "-c", f"import sys; {code}; sys.exit(str({heavy}) if {heavy} else 0)"],
        check=True,
    )


def test_programs_that_are_absent_fail_or_hang_say_nothing(monkeypatch):
    assert run_program(["edgepack-no-such-program"]) == ""
    failing = [sys.executable, "-c", "print('partial'); raise SystemExit(1)"]
    assert run_program(failing).strip() == "partial"
    monkeypatch.setattr("edgepack.hardware.host.PROGRAM_SECONDS", 0.05)
    assert run_program([sys.executable, "-c", "import time; time.sleep(30)"]) == ""


def test_default_host_is_this_one():
    assert (Host().platform, Host().root) == (sys.platform, Path("/"))


@pytest.mark.parametrize(("load", "measured", "busy"), [(2, True, 1), (1, True, 0), (2, False, 0)])
def test_a_bandwidth_measured_on_a_busy_machine_is_noted(make_host, load, measured, busy):
    host = make_host({"proc/meminfo": "MemTotal: 2097152 kB\nMemAvailable: 2097152 kB"})
    found = detect(measure_bandwidth=measured, host=replace(host, load=lambda: load))
    assert len(found.notes) == busy
    assert all("busy" in note for note in found.notes)
