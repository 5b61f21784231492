"""AMD and Intel GPUs from /sys/class/drm trees."""

from __future__ import annotations

from edgepack.hardware.accelerators.drm import accelerators

GIB = 1024**3


def card(number: int, **files: object) -> dict[str, str]:
    return {f"sys/class/drm/card{number}/device/{k}": f"{v}\n" for k, v in files.items()}


def amd(number: int, vram: int, gtt: int, used: int, **more: object) -> dict[str, str]:
    return card(
        number,
        vendor="0x1002",
        device="0x744c",
        mem_info_vram_total=vram,
        mem_info_vram_used=used,
        mem_info_gtt_total=gtt,
        mem_info_gtt_used=GIB,
        **more,
    )


def test_amd_card_uses_its_own_memory(make_host):
    files = amd(0, 24 * GIB, 32 * GIB, GIB, mem_info_vram_vendor="samsung")
    (gpu,) = accelerators(make_host(files))
    assert (gpu.name, gpu.vendor, gpu.unified) == ("AMD GPU 0x744c", "amd", False)
    assert (gpu.memory.value, gpu.free.value) == (24 * GIB, 23 * GIB)


def test_amd_integrated_adds_the_pages_mapped_to_it(make_host):
    (gpu,) = accelerators(make_host(amd(1, GIB // 2, 16 * GIB, 0)))
    assert gpu.unified
    assert (gpu.memory.value, gpu.free.value) == (16 * GIB + GIB // 2, 15 * GIB + GIB // 2)


def test_older_kernels_call_its_memory_maker_unknown(make_host):
    files = amd(1, GIB, GIB, 0, mem_info_vram_vendor="unknown")
    assert accelerators(make_host(files))[0].unified


def test_product_name_is_preferred(make_host):
    files = amd(0, GIB, GIB, 0, product_name="AMD Instinct MI210", mem_info_vram_vendor="hynix")
    assert accelerators(make_host(files))[0].name == "AMD Instinct MI210"


def test_intel_integrated_and_discrete(make_host):
    files = {
        **card(
            0, vendor="0x8086", device="0x46a6", uevent="DRIVER=i915\nPCI_SLOT_NAME=0000:00:02.0"
        ),
        **card(1, vendor="0x8086", device="0x56a0", uevent="DRIVER=xe\nPCI_SLOT_NAME=0000:03:00.0"),
    }
    inside, arc = accelerators(make_host(files))
    assert (inside.name, inside.unified) == ("Intel GPU 0x46a6", True)
    assert (arc.name, arc.unified) == ("Intel GPU 0x56a0", False)
    assert inside.memory.origin == arc.memory.origin == "unknown"


def test_connectors_and_other_vendors_are_passed_over(make_host):
    files = {
        **card(0, vendor="0x10de"),
        "sys/class/drm/card0-HDMI-A-1/device/vendor": "0x1002\n",
        "sys/class/drm/renderD128/device/vendor": "0x1002\n",
    }
    assert accelerators(make_host(files)) == ()


def test_amd_card_whose_driver_tells_nothing(make_host):
    (gpu,) = accelerators(make_host(card(0, vendor="0x1002")))
    assert (gpu.memory.value, gpu.free.value) == (None, None)
