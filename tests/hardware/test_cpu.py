"""Processor figures from files as real machines show them."""

from __future__ import annotations

import pytest

from edgepack.hardware.cpu import read_cpu

EPYC = """processor\t: 0
vendor_id\t: AuthenticAMD
model name\t: AMD EPYC 9354P 32-Core Processor
flags\t\t: fpu sse2 fma f16c avx2 avx512f avx512bw avx512_bf16 avx512_vnni
"""
INTEL = """processor\t: 0
model name\t: Intel(R) Core(TM) i9-10850K CPU @ 3.60GHz
flags\t\t: fma f16c avx2 avx_vnni amx_tile
"""
PI5 = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm asimddp
CPU part\t: 0xd0b
"""
GRAVITON = "Features\t: fp asimd asimddp sve i8mm sve2\n"


def cores(pairs: dict[int, str]) -> dict[str, str]:
    """Topology files: logical processor -> the list of its core's threads."""
    return {
        f"sys/devices/system/cpu/cpu{cpu}/topology/core_cpus_list": f"{threads}\n"
        for cpu, threads in pairs.items()
    }


FOUR_CORES = cores({0: "0,4", 1: "1,5", 2: "2,6", 3: "3,7", 4: "0,4", 5: "1,5", 6: "2,6", 7: "3,7"})


def status(allowed: str) -> dict[str, str]:
    return {
        "proc/self/status": f"Name:\tpython\nCpus_allowed:\tff\nCpus_allowed_list:\t{allowed}\n"
    }


def test_amd_names_every_instruction_set(make_host):
    cpu = read_cpu(make_host({"proc/cpuinfo": EPYC}))
    assert cpu.model.value == "AMD EPYC 9354P 32-Core Processor"
    assert cpu.model.origin == "probed"
    assert cpu.isa == ("AVX2", "AVX-512", "AVX-512 VNNI", "AVX-512 BF16", "F16C", "FMA")


def test_intel_model_is_tidied(make_host):
    cpu = read_cpu(make_host({"proc/cpuinfo": INTEL}))
    assert cpu.model.value == "Intel Core i9-10850K"
    assert cpu.isa == ("AVX2", "AVX-VNNI", "AMX", "F16C", "FMA")


def test_arm_board_is_named_by_its_device_tree(make_host):
    files = {"proc/cpuinfo": PI5, "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0"}
    cpu = read_cpu(make_host(files))
    assert cpu.model.value == "Raspberry Pi 5 Model B Rev 1.0"
    assert cpu.isa == ("NEON", "DOTPROD")


def test_arm_server_is_named_by_lscpu(make_host):
    lscpu = "Architecture:  aarch64\nModel name:    Neoverse-V1\n"
    cpu = read_cpu(make_host({"proc/cpuinfo": GRAVITON}, {"lscpu": lscpu}))
    assert cpu.model.value == "Neoverse-V1"
    assert cpu.isa == ("NEON", "DOTPROD", "I8MM", "SVE", "SVE2")


@pytest.mark.parametrize(
    ("allowed", "expected"), [("0-7", 4), ("0-3", 4), ("0,4", 1), ("0-1,4-5", 2), ("3", 1)]
)
def test_physical_cores_are_those_the_process_may_use(make_host, allowed, expected):
    cpu = read_cpu(make_host({"proc/cpuinfo": EPYC, **FOUR_CORES, **status(allowed)}))
    assert cpu.physical_cores.value == expected


def test_old_kernels_call_it_thread_siblings(make_host):
    files = {k.replace("core_cpus", "thread_siblings"): v for k, v in FOUR_CORES.items()}
    assert read_cpu(make_host({**files, **status("0-7")})).physical_cores.value == 4


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("200000 100000", 2), ("250000 100000", 2), ("50000 100000", 1), ("max 100000", 4)],
)
def test_cpu_quota_of_a_container(make_host, quota, expected):
    group = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": quota}
    assert (
        read_cpu(make_host({**FOUR_CORES, **status("0-7"), **group})).physical_cores.value
        == expected
    )


@pytest.mark.parametrize(("quota", "expected"), [("300000", 3), ("-1", 4)])
def test_cpu_quota_of_version_one(make_host, quota, expected):
    group = {
        "proc/self/cgroup": "5:cpu,cpuacct:/docker/abc\n0::/\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": quota,
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
    }
    found = read_cpu(make_host({**FOUR_CORES, **status("0-7"), **group}))
    assert found.physical_cores.value == expected


def test_nothing_readable_is_unknown(make_host):
    cpu = read_cpu(make_host())
    assert (cpu.model.value, cpu.model.origin) == (None, "unknown")
    assert (cpu.physical_cores.value, cpu.physical_cores.origin) == (None, "unknown")
    assert cpu.isa == ()


def test_apple_silicon(make_host):
    sysctl = (
        "machdep.cpu.cores_per_package: 10\nmachdep.cpu.brand_string: Apple M4\n"
        "hw.physicalcpu: 10\nhw.optional.neon: 1\nhw.optional.arm.FEAT_DotProd: 1\n"
        "hw.optional.arm.FEAT_I8MM: 1\nhw.optional.arm.FEAT_SVE: 0\n"
    )
    cpu = read_cpu(make_host(programs={"sysctl": sysctl}, platform="darwin"))
    assert (cpu.model.value, cpu.physical_cores.value) == ("Apple M4", 10)
    assert cpu.isa == ("NEON", "DOTPROD", "I8MM")


def test_intel_mac(make_host):
    sysctl = (
        "machdep.cpu.brand_string: Intel(R) Core(TM) i7-8569U CPU @ 2.80GHz\n"
        "machdep.cpu.features: FPU SSE4.2 FMA F16C AVX1.0\n"
        "machdep.cpu.leaf7_features: BMI1 AVX2 BMI2\nhw.physicalcpu: 4\n"
    )
    cpu = read_cpu(make_host(programs={"sysctl": sysctl}, platform="darwin"))
    assert cpu.model.value == "Intel Core i7-8569U"
    assert cpu.isa == ("AVX2", "F16C", "FMA")
