"""NVIDIA GPUs through an NVML stand-in and through nvidia-smi's text."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

from edgepack.hardware.accelerators.nvidia import accelerators

MIB = 1024**2


class NVMLError(Exception):
    pass


class NotSupportedError(NVMLError):
    pass


@pytest.fixture
def nvml(monkeypatch):
    """pynvml with one RTX 4090; a test overrides what it needs."""
    fake = ModuleType("pynvml")
    fake.NVMLError, fake.NVMLError_NotSupported, fake.NVML_CLOCK_MEM = (
        NVMLError,
        NotSupportedError,
        2,
    )
    fake.nvmlInit = fake.nvmlShutdown = lambda: None
    fake.nvmlSystemGetDriverVersion = lambda: "550.54.14"
    fake.nvmlDeviceGetCount = lambda: 1
    fake.nvmlDeviceGetHandleByIndex = lambda index: index
    fake.nvmlDeviceGetName = lambda device: "NVIDIA GeForce RTX 4090"
    fake.nvmlDeviceGetMemoryInfo = lambda device: SimpleNamespace(
        total=24564 * MIB, free=24000 * MIB
    )
    fake.nvmlDeviceGetCudaComputeCapability = lambda device: (8, 9)
    fake.nvmlDeviceGetMemoryBusWidth = lambda device: 384
    fake.nvmlDeviceGetMaxClockInfo = lambda device, clock: 10501
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    return fake


@pytest.fixture
def no_nvml(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)


def fails(error: type[Exception]):
    def call(*_: object) -> None:
        raise error

    return call


def test_figures_of_nvml(nvml, make_host):
    (gpu,) = accelerators(make_host())
    assert (gpu.name, gpu.vendor) == ("NVIDIA GeForce RTX 4090", "nvidia")
    assert (gpu.memory.value, gpu.free.value) == (24564 * MIB, 24000 * MIB)
    assert gpu.driver == "driver 550.54.14, compute 8.9"
    assert not gpu.unified


@pytest.mark.parametrize(
    ("bits", "megahertz", "sheet"),
    [
        (384, 10501, 1008e9),  # RTX 4090
        (128, 14001, 448e9),  # RTX 5060
        (192, 7501, 360e9),  # RTX 3060 12 GB
        (128, 8501, 272e9),  # RTX 4060
    ],
)
def test_bandwidth_is_the_data_sheets(nvml, make_host, bits, megahertz, sheet):
    nvml.nvmlDeviceGetMemoryBusWidth = lambda device: bits
    nvml.nvmlDeviceGetMaxClockInfo = lambda device, clock: megahertz
    (gpu,) = accelerators(make_host())
    assert gpu.bandwidth.value == pytest.approx(sheet, rel=1e-3)


def test_gpu_without_memory_of_its_own_is_unified(nvml, make_host):
    nvml.nvmlDeviceGetMemoryInfo = fails(NotSupportedError)
    nvml.nvmlDeviceGetMemoryBusWidth = fails(NotSupportedError)
    (gpu,) = accelerators(make_host())
    assert gpu.unified
    assert gpu.memory.value is gpu.free.value is gpu.bandwidth.value is None


def test_lost_memory_figure_is_not_taken_for_unified(nvml, make_host):
    nvml.nvmlDeviceGetMemoryInfo = fails(NVMLError)
    (gpu,) = accelerators(make_host())
    assert not gpu.unified
    assert gpu.memory.origin == "unknown"


def test_old_bindings_answer_in_bytes(nvml, make_host):
    nvml.nvmlDeviceGetName = lambda device: b"Tesla T4"
    assert accelerators(make_host())[0].name == "Tesla T4"


SMI = """NVIDIA GeForce RTX 3060, 12288, 11852, 580.95.05
NVIDIA GeForce RTX 4060, 8188, 7700, 580.95.05
"""


@pytest.mark.parametrize("broken", ["nvmlInit", "nvmlDeviceGetCount", "nvmlDeviceGetName"])
def test_broken_nvml_gives_nvidia_smi_its_turn(nvml, make_host, broken):
    setattr(nvml, broken, fails(NVMLError))
    found = accelerators(make_host(programs={"nvidia-smi": SMI}))
    assert [gpu.name for gpu in found] == ["NVIDIA GeForce RTX 3060", "NVIDIA GeForce RTX 4060"]


def test_figures_of_nvidia_smi(no_nvml, make_host):
    first, second = accelerators(make_host(programs={"nvidia-smi": SMI}))
    assert (first.memory.value, first.free.value) == (12288 * MIB, 11852 * MIB)
    assert second.memory.value == 8188 * MIB
    assert first.driver == "driver 580.95.05"
    assert first.bandwidth.origin == "unknown"


def test_nvidia_smi_of_a_dgx_spark(no_nvml, make_host):
    smi = "NVIDIA GB10, [N/A], [N/A], 580.173.02\n"
    (gpu,) = accelerators(make_host(programs={"nvidia-smi": smi}))
    assert gpu.unified
    assert gpu.memory.value is None


def test_gpu_that_needs_a_reset_is_not_taken_for_unified(no_nvml, make_host):
    smi = "Tesla T4, [GPU requires reset], [GPU requires reset], 550.54\n"
    (gpu,) = accelerators(make_host(programs={"nvidia-smi": smi}))
    assert not gpu.unified


@pytest.mark.parametrize(
    "trouble",
    [
        "",
        "No devices were found\n",
        "Failed to initialize NVML: Driver/library version mismatch\n",
        "NVIDIA-SMI has failed, for reasons, of its own, today\n",
    ],
)
def test_trouble_is_no_gpu(no_nvml, make_host, trouble):
    assert accelerators(make_host(programs={"nvidia-smi": trouble})) == ()
