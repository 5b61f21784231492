"""Main memory: the least of what the machine and every enclosing control group allow."""

from __future__ import annotations

import psutil
import pytest

from edgepack.hardware.host import Host
from edgepack.hardware.memory import main_memory

GIB = 1024**3
MEMINFO = "MemTotal:       16777216 kB\nMemFree:  1 kB\nMemAvailable:   12582912 kB\n"


def sizes(host: Host) -> tuple[float | None, float | None]:
    total, available = (f.value for f in main_memory(host))
    return total and total / GIB, available and available / GIB


def test_bare_machine(make_host):
    host = make_host({"proc/meminfo": MEMINFO})
    assert sizes(host) == (16, 12)
    assert [f.origin for f in main_memory(host)] == ["probed", "probed"]


def v2(group: str, limit: str, usage: int = 0, inactive: int = 0) -> dict[str, str]:
    return {
        f"sys/fs/cgroup{group}/memory.max": f"{limit}\n",
        f"sys/fs/cgroup{group}/memory.current": f"{usage}\n",
        f"sys/fs/cgroup{group}/memory.stat": f"anon 1\ninactive_file {inactive}\nactive_file 5\n",
    }


def test_container_with_its_own_namespace(make_host):
    files = v2("", str(4 * GIB), usage=3 * GIB, inactive=GIB)
    host = make_host({"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/\n", **files})
    assert sizes(host) == (4, 2)  # 3 GiB charged, of which 1 is file cache to drop


def test_limit_on_an_ancestor_binds(make_host):
    files = {**v2("/kube/pod/box", "max"), **v2("/kube/pod", str(2 * GIB), usage=GIB)}
    host = make_host({"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/kube/pod/box\n", **files})
    assert sizes(host) == (2, 1)


def test_total_and_available_may_come_from_different_groups(make_host):
    files = {**v2("/a", str(8 * GIB), usage=7 * GIB), **v2("/a/b", str(4 * GIB), usage=GIB)}
    host = make_host({"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/a/b\n", **files})
    assert sizes(host) == (4, 1)


def test_max_is_no_limit(make_host):
    files = v2("", "max", usage=GIB)
    host = make_host({"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/\n", **files})
    assert sizes(host) == (16, 12)


def test_usage_above_the_limit_leaves_nothing(make_host):
    files = v2("", str(GIB), usage=2 * GIB)
    host = make_host({"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/\n", **files})
    assert sizes(host) == (1, 0)


def test_group_outside_the_namespace(make_host):
    files = v2("", str(4 * GIB))
    host = make_host({"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/../../x\n", **files})
    assert sizes(host) == (4, 4)


def v1(group: str, limit: int, usage: int, inactive: int) -> dict[str, str]:
    return {
        f"sys/fs/cgroup/memory{group}/memory.limit_in_bytes": str(limit),
        f"sys/fs/cgroup/memory{group}/memory.usage_in_bytes": str(usage),
        f"sys/fs/cgroup/memory{group}/memory.stat": f"cache 9\ntotal_inactive_file {inactive}\n",
    }


@pytest.mark.parametrize("name", ["/a\0b", "/" + "n" * 300])
def test_group_with_a_name_that_no_folder_has(make_host, name):
    files = v2("", str(4 * GIB), usage=GIB)
    host = make_host({"proc/meminfo": MEMINFO, "proc/self/cgroup": f"0::{name}\n", **files})
    assert sizes(host) == (4, 3)


def test_version_one_container_sees_only_its_own_tree(make_host):
    groups = "9:name=systemd:/docker/abc\n4:memory:/docker/abc\n0::/\n"
    files = v1("", 6 * GIB, 2 * GIB, GIB)
    host = make_host({"proc/meminfo": MEMINFO, "proc/self/cgroup": groups, **files})
    assert sizes(host) == (6, 5)


def test_version_one_writes_none_as_a_huge_number(make_host):
    files = v1("", 9223372036854771712, GIB, 0)
    groups = {"proc/self/cgroup": "4:memory:/\n"}
    assert sizes(make_host({"proc/meminfo": MEMINFO, **groups, **files})) == (16, 12)
    (make_host().root / "proc/meminfo").unlink()
    assert sizes(make_host()) == (None, None)


def test_other_systems_ask_psutil(make_host):
    total, available = main_memory(make_host(platform="darwin"))
    assert total.value == psutil.virtual_memory().total
    assert available.value is not None
    assert 0 < available.value <= psutil.virtual_memory().total


@pytest.mark.skipif(not psutil.LINUX, reason="compares /proc with psutil")
def test_this_machine_agrees_with_psutil_unless_limited():
    total = main_memory(Host())[0].value
    assert total is not None
    assert 0 < total <= psutil.virtual_memory().total
