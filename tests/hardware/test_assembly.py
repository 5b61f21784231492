"""What `--device` may say: one device, two of a kind, several in one computer."""

from __future__ import annotations

import pytest

from edgepack.errors import UsageError
from edgepack.hardware import assemble, profile

CARD, OTHER = "NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 3090"


@pytest.mark.parametrize(
    ("text", "name", "cards"),
    [
        ("rtx-4090", "rtx-4090", [CARD]),
        ("1x rtx-4090", "rtx-4090", [CARD]),
        ("2x rtx-4090", "2x rtx-4090", [CARD, CARD]),
        ("2x RTX 4090", "2x rtx-4090", [CARD, CARD]),
        ("2 X rtx_4090", "2x rtx-4090", [CARD, CARD]),
        ("2xrtx-4090", "2x rtx-4090", [CARD, CARD]),
        ("rtx-4090+rtx-4090", "2x rtx-4090", [CARD, CARD]),
        ("rtx-4090 + rtx-3090", "rtx-4090 + rtx-3090", [CARD, OTHER]),
        ("rtx-3090 + 2x rtx-4090", "rtx-3090 + 2x rtx-4090", [OTHER, CARD, CARD]),
    ],
)
def test_cards_in_one_machine(text, name, cards):
    machine = assemble(text)
    assert machine.name == name
    assert [a.name for a in machine.accelerators] == cards
    assert machine.memory.value is None
    assert len(machine.places) == 1
    assert not machine.unified_memory


def test_each_card_keeps_its_figures():
    machine = assemble("rtx-4090 + rtx-3090")
    assert machine.accelerators == (
        *profile("rtx-4090").accelerators,
        *profile("rtx-3090").accelerators,
    )


def test_cards_in_a_computer():
    machine = assemble("2x rtx-3090 + cpu-32gb-ddr5")
    computer = profile("cpu-32gb-ddr5")
    assert machine.memory == computer.memory
    assert machine.available == computer.available
    assert machine.bandwidth == computer.bandwidth
    assert machine.cpu == computer.cpu
    assert [place.name for place in machine.places] == [OTHER, "CPU"]


def test_a_computers_npu_and_unified_memory_stay():
    machine = assemble("rtx-4090 + ryzen-ai-max-395-128gb")
    assert [npu.name for npu in machine.npus] == ["AMD XDNA 2"]
    assert machine.unified_memory
    assert len(machine.accelerators) == 2


def test_a_device_alone_is_its_profile():
    assert assemble(" Pi5 8GB ") == profile("pi5-8gb")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("rtx4090", "unknown device 'rtx4090'", "did you mean 'rtx-4090'?"),
        ("2x rtx4090", "unknown device 'rtx4090'", "did you mean 'rtx-4090'?"),
        ("rtx-4090 + rtx3090", "unknown device 'rtx3090'", "did you mean 'rtx-3090'?"),
        ("2x", "unknown device '2x'", ""),
        ("x rtx-4090", "unknown device 'x rtx-4090'", "rtx-4090"),
        ("-1x rtx-4090", "unknown device '-1x rtx-4090'", "rtx-4090"),
        ("1.5x rtx-4090", "unknown device '1.5x rtx-4090'", "rtx-4090"),
        ("0x rtx-4090", "'0x rtx-4090': a machine has 1 to 64 of a card", "2x rtx-4090"),
        ("65x rtx-4090", "'65x rtx-4090': a machine has 1 to 64 of a card", "2x rtx-4090"),
        ("9" * 5000 + "x rtx-4090", f"'{'9' * 32}': a machine has 1 to 64", "2x rtx-4090"),
        ("rtx-4090 +", "'rtx-4090 +' has a + without a device beside it", "rtx-4090 + rtx-3090"),
        ("+", "'+' has a + without a device beside it", "rtx-4090 + rtx-3090"),
        (
            "2x pi5-8gb",
            "'2x pi5-8gb' is more than one computer: pi5-8gb and pi5-8gb",
            "one computer, and any number of graphics cards",
        ),
        (
            "rtx-4090 + mac-mini-m4-16gb",
            "'rtx-4090 + mac-mini-m4-16gb': no graphics card can be put into mac-mini-m4-16gb",
            "another computer",
        ),
        (
            "rtx-4090 + iphone-16-pro",
            "'rtx-4090 + iphone-16-pro': no graphics card can be put into iphone-16-pro",
            "another computer",
        ),
        (
            "pixel-9 + rtx-4090",
            "'pixel-9 + rtx-4090': no graphics card can be put into pixel-9",
            "another computer",
        ),
        (
            "mac-mini-m4-16gb + cpu-8gb-ddr4 + rtx-4090",
            "'mac-mini-m4-16gb + cpu-8gb-ddr4 + rtx-4090' is more than one computer:",
            "one computer",
        ),
    ],
)
def test_what_makes_no_machine_says_why(text, message, hint):
    with pytest.raises(UsageError) as caught:
        assemble(text)
    assert caught.value.message.startswith(message)
    assert hint in caught.value.hint


@pytest.mark.parametrize("text", ["", "   "])
def test_nothing_is_no_device(text):
    with pytest.raises(UsageError):
        assemble(text)


def test_a_users_profile_may_look_like_a_count(tmp_path):
    folder = tmp_path / "config" / "edgepack" / "devices"
    folder.mkdir(parents=True)
    (folder / "2x-box.toml").write_text("[memory]\ntotal_mib = 4096\n")
    assert assemble("2x box").name == "2x-box"
    assert assemble("2x box + rtx-4090").name == "2x-box + rtx-4090"
