"""NVIDIA GPUs, through NVML where `nvidia-ml-py` is installed, else the `nvidia-smi` program."""

from __future__ import annotations

from contextlib import suppress
from types import ModuleType

from edgepack.hardware.host import Host, number
from edgepack.hardware.machine import Accelerator, Figure, figure
from edgepack.units import MIB

_QUERY = "name,memory.total,memory.free,driver_version"
_NO_MEMORY = ("[N/A]", "[Not Supported]")


def accelerators(host: Host) -> tuple[Accelerator, ...]:
    """GPUs in driver order.

    One whose driver reports no memory of its own (Jetson, GB10) works in the host's: unified.
    """
    found = _by_nvml()
    return _by_smi(host) if found is None else found


def _by_nvml() -> tuple[Accelerator, ...] | None:
    """None where NVML cannot be used, so that `nvidia-smi` has its turn."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        driver = _plain(pynvml.nvmlSystemGetDriverVersion())
        count = int(pynvml.nvmlDeviceGetCount())
        return tuple(_nvml_device(pynvml, index, driver) for index in range(count))
    except pynvml.NVMLError:
        return None
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _nvml_device(nvml: ModuleType, index: int, driver: str) -> Accelerator:
    device = nvml.nvmlDeviceGetHandleByIndex(index)
    total, free, unified = _nvml_memory(nvml, device)
    compute = None
    with suppress(nvml.NVMLError):
        compute = "{}.{}".format(*nvml.nvmlDeviceGetCudaComputeCapability(device))
    return Accelerator(
        name=_plain(nvml.nvmlDeviceGetName(device)),
        vendor="nvidia",
        memory=figure(total, "probed"),
        free=figure(free, "probed"),
        bandwidth=_nvml_bandwidth(nvml, device),
        unified=unified,
        driver=f"driver {driver}" + (f", compute {compute}" if compute else ""),
    )


def _nvml_memory(nvml: ModuleType, device: object) -> tuple[int | None, int | None, bool]:
    """(total, free, unified): "not supported" is how a GPU without its own memory answers."""
    try:
        memory = nvml.nvmlDeviceGetMemoryInfo(device)
    except nvml.NVMLError_NotSupported:
        return None, None, True
    except nvml.NVMLError:
        return None, None, False
    return int(memory.total), int(memory.free), False


def _nvml_bandwidth(nvml: ModuleType, device: object) -> Figure[int]:
    """Bus width times twice the top memory clock: NVML gives the clock of a double data rate.

    Checked against NVIDIA's sheets: RTX 4090 384 bit, 10501 MHz -> 1008 GB/s; RTX 5060 128 bit,
    14001 MHz -> 448 GB/s. It holds for laptop parts too, whose clocks differ from the desktop's.
    """
    try:
        bits = int(nvml.nvmlDeviceGetMemoryBusWidth(device))
        megahertz = int(nvml.nvmlDeviceGetMaxClockInfo(device, nvml.NVML_CLOCK_MEM))
    except nvml.NVMLError:
        return Figure(None, "unknown")
    return figure(bits // 8 * 2 * megahertz * 10**6 or None, "probed")


def _plain(text: str | bytes) -> str:
    """Old bindings answer in bytes."""
    return text.decode() if isinstance(text, bytes) else text


def _by_smi(host: Host) -> tuple[Accelerator, ...]:
    output = host.run(["nvidia-smi", f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"])
    rows = ([cell.strip() for cell in line.split(",")] for line in output.splitlines())
    return tuple(_smi_device(*row) for row in rows if _is_device(row))


def _is_device(row: list[str]) -> bool:
    """A row of figures, not one of the sentences in which nvidia-smi reports its troubles."""
    return len(row) == len(_QUERY.split(",")) and (row[1].isdecimal() or row[1].startswith("["))


def _smi_device(name: str, total: str, free: str, driver: str) -> Accelerator:
    return Accelerator(
        name=name,
        vendor="nvidia",
        memory=_smi_bytes(total),
        free=_smi_bytes(free),
        bandwidth=Figure(None, "unknown"),
        unified=total in _NO_MEMORY,
        driver=f"driver {driver}",
    )


def _smi_bytes(mebibytes: str) -> Figure[int]:
    count = number(mebibytes)
    return figure(None if count is None else count * MIB, "probed")
