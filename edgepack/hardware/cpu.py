"""The processor: its model, instruction sets, and the physical cores this process may use."""

from __future__ import annotations

import platform
import re
import sys

from edgepack.hardware.cgroup import cpu_quota
from edgepack.hardware.host import Host, number, sysctl
from edgepack.hardware.isa import instruction_sets
from edgepack.hardware.machine import Cpu, figure

_TOPOLOGY = "sys/devices/system/cpu/cpu{}/topology/{}"


def read_cpu(host: Host) -> Cpu:
    """Probes in milliseconds; only on systems without a cheap source is CPUID run, once."""
    if host.platform == "linux":
        return _linux(host)
    if host.platform == "darwin":
        return _macos(host)
    return _other()


def _linux(host: Host) -> Cpu:
    text = host.text("proc/cpuinfo") or ""
    # x86 names its flags `flags`, Arm `Features`; only x86 has a `model name`.
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.M)
    model = re.search(r"^model name\s*:(.*)$", text, re.M)
    name = model[1] if model else host.text("proc/device-tree/model") or _lscpu_model(host)
    return Cpu(
        model=figure(_tidy(name), "probed"),
        isa=instruction_sets(flags[1].split() if flags else ()),
        physical_cores=figure(_linux_cores(host), "probed"),
    )


def _lscpu_model(host: Host) -> str:
    match = re.search(r"^Model name:(.*)$", host.run(["lscpu"]), re.M)
    return match[1] if match else ""


def _linux_cores(host: Host) -> int | None:
    """Distinct physical cores among the allowed logical ones, no more than the CPU quota.

    A quota of 2.5 gives 2: threads beyond it are stopped in mid-step, and the others wait.
    """
    allowed = re.search(r"^Cpus_allowed_list:\s*(\S+)$", host.text("proc/self/status") or "", re.M)
    if not allowed:
        return None
    siblings = set()
    for cpu in _cpu_list(allowed[1]):
        core = host.text(_TOPOLOGY.format(cpu, "core_cpus_list"))
        # The name before Linux 5.3, and itself where neither exists.
        siblings.add(core or host.text(_TOPOLOGY.format(cpu, "thread_siblings_list")) or str(cpu))
    quota = cpu_quota(host)
    return len(siblings) if quota is None else max(1, min(len(siblings), int(quota)))


def _cpu_list(text: str) -> list[int]:
    """`0-2,5` -> [0, 1, 2, 5]."""
    ranges = re.findall(r"(\d+)(?:-(\d+))?", text)
    return [cpu for first, last in ranges for cpu in range(int(first), int(last or first) + 1)]


def _macos(host: Host) -> Cpu:
    known = sysctl(host, "machdep.cpu", "hw.physicalcpu", "hw.optional")
    intel = f"{known.get('machdep.cpu.features', '')} {known.get('machdep.cpu.leaf7_features', '')}"
    arm = [name.rpartition(".")[2] for name, value in known.items() if value == "1"]
    return Cpu(
        model=figure(_tidy(known.get("machdep.cpu.brand_string", "")), "probed"),
        isa=instruction_sets([*intel.split(), *arm]),
        physical_cores=figure(number(known.get("hw.physicalcpu")), "probed"),
    )


def _other() -> Cpu:
    import psutil

    from edgepack.hardware.cpuid import cached_flags

    model = _registry_model() or platform.processor()
    return Cpu(
        model=figure(_tidy(model), "probed"),
        isa=instruction_sets(cached_flags(f"{model} | {platform.processor()}")),
        physical_cores=figure(psutil.cpu_count(logical=False), "probed"),
    )


def _registry_model() -> str:
    if sys.platform == "win32":
        import winreg

        path = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
        try:
            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, path) as key:
                return str(winreg.QueryValueEx(key, "ProcessorNameString")[0])
        except OSError:
            return ""
    return ""


def _tidy(name: str) -> str | None:
    """`Intel(R) Core(TM) i9-13900K CPU @ 3.00GHz` -> `Intel Core i9-13900K`."""
    plain = re.sub(r"\((?:R|TM)\)|\s+CPU\b|\s*@.*$", "", name, flags=re.IGNORECASE)
    return " ".join(plain.split()) or None
