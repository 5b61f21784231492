"""Where layers lie: by hand on loads of round numbers, and against the whole."""

from dataclasses import replace

import pytest

from edgepack.errors import Missing
from edgepack.hardware import Accelerator, Cpu, Figure, Hardware
from edgepack.memory import Deployment, Load, Loads, Part, decode_speed, footprint, place
from edgepack.memory.layers import LayerBytes, OuterBytes
from edgepack.quant.schemes.gguf import scheme
from edgepack.units import GIB

UNKNOWN = Figure(None, "unknown")


def load(layers=10, experts=0):
    """Layers of 100 GiB and as many of experts as said, half of which a token passes."""
    return Load(
        layers=(LayerBytes(90 * GIB, experts * GIB, 10 * GIB),) * layers,
        read=(100 * GIB,) * layers,
        experts_read=(experts * GIB // 2,) * layers,
        outer=OuterBytes(embeddings=50 * GIB, head=20 * GIB, tied=0),
        compute=30 * GIB,
        beside=7 * GIB,
    )


def machine(host, *cards, unified=False):
    def known(value):
        if value is None:
            return UNKNOWN
        return Figure(round(value * GIB), "profile")

    def accelerator(index, memory):
        size, rate = known(memory), known(1000 // (index + 1))
        return Accelerator(f"card {index}", "nvidia", size, size, rate, unified)

    return Hardware(
        name="test",
        cpu=Cpu(UNKNOWN, (), UNKNOWN),
        memory=known(host),
        available=known(host),
        bandwidth=known(100),
        accelerators=tuple(accelerator(i, size) for i, size in enumerate(cards)),
        unified_memory=unified,
        disk_free=UNKNOWN,
    )


def summary(placement):
    return placement.kind, [
        (p.layers, p.experts, p.bytes // GIB, p.read // GIB) for p in placement.parts
    ]


def test_the_processor_alone_holds_all():
    placement = place(load(), machine(5000))
    assert summary(placement) == ("whole", [(10, 0, 1000 + 50 + 20 + 30 + 7, 1020)])
    assert (placement.name, placement.arguments) == ("CPU", ())


def test_a_card_leaves_embeddings_and_the_process_to_the_host():
    placement = place(load(), machine(57, 1050))
    assert summary(placement) == ("whole", [(10, 0, 1000 + 20 + 30, 1020), (0, 0, 57, 0)])
    assert placement.fits
    assert placement.headroom == 0
    assert placement.name == "card 0"


def test_a_host_without_room_for_them_does_not_hold_the_model():
    assert not place(load(), machine(56, 1050)).fits


def test_a_card_whose_host_is_unknown_is_judged_alone():
    assert place(load(), machine(None, 1050)).fits
    assert not place(load(), machine(None, 1049)).fits


def test_tied_embeddings_are_copied_to_the_card_that_calculates_logits():
    tied = replace(load(), outer=OuterBytes(50 * GIB, 20 * GIB, tied=50 * GIB))
    placement = place(tied, machine(5000, 1100))
    assert summary(placement) == ("whole", [(10, 0, 1100, 1070), (0, 0, 57, 0)])


def test_two_cards_divide_layers_by_their_memory():
    placement = place(load(), machine(5000, 700, 500))
    assert summary(placement) == (
        "split", [(6, 0, 630, 600), (4, 0, 450, 420), (0, 0, 57, 0)],
    )  # fmt: skip
    assert placement.name == "card 0 + card 1"
    assert placement.arguments == ("--tensor-split", "6,5")  # the output counts as one


def test_the_fastest_card_that_holds_all_is_taken():
    placement = place(load(), machine(5000, 2000, 9000))
    assert placement.parts[0].place.name == "card 0"


def test_the_rest_of_the_layers_stays_with_the_host():
    """474 hold compute, head, four layers and 5% free; the host its six and a buffer."""
    placement = place(load(), machine(5000, 474))
    assert summary(placement) == ("layers", [(4, 0, 450, 420), (6, 0, 57 + 600 + 30, 600)])
    assert placement.arguments == ("--n-gpu-layers", "5")  # the output counts as one
    assert placement.name == "card 0 (4 of 10 layers), CPU"


def test_experts_move_before_layers_do():
    """Layers of 100 + 400: 1,948 hold ten without experts, the experts of two, and 5% free."""
    placement = place(load(experts=400), machine(5000, 1948))
    assert summary(placement) == (
        "experts", [(10, 0, 1050 + 800, 1020 + 400), (0, 8, 57 + 30 + 3200, 1600)],
    )  # fmt: skip
    assert placement.arguments == ("--n-gpu-layers", "all", "--n-cpu-moe", "8")
    assert placement.name == "card 0, experts of 8 layers on the CPU"


def test_a_card_for_no_layer_leaves_all_to_the_host():
    placement = place(load(), machine(5000, 100))
    assert placement.kind == "host"
    assert placement.arguments == ("--n-gpu-layers", "0")


def test_what_fits_nowhere_is_held_against_the_largest_memory():
    placement = place(load(), machine(800, 200))
    assert not placement.fits
    assert placement.parts[0].place.name == "CPU"


@pytest.mark.parametrize("program", ["onnxruntime-genai", "onnxruntime"])
def test_onnxruntime_runs_on_the_host(program):
    assert place(load(), machine(5000, 9000), program).parts[0].place.name == "CPU"


def test_unified_memory_is_one_place():
    apple = machine(5000, 2000, unified=True)
    assert summary(place(load(), apple)) == ("whole", [(10, 0, 1107, 1020)])


def test_parts_work_one_after_another():
    """4 layers and the head at 1000 a second, 6 layers at 100."""
    placement = place(load(), machine(5000, 474))
    speed = decode_speed(placement)
    assert speed is not None
    assert speed.high == pytest.approx(0.85 / (420 / 1000 + 600 / 100))


def test_nothing_is_lost_on_the_way(decoders):
    """All parts of a divided model: its footprint, and a second compute buffer."""
    decoder, deployment = decoders["Llama-3.1-8B"], Deployment(4096)
    whole = footprint(decoder, scheme("Q4_K_M"), deployment)
    found = Loads(decoder, scheme("Q4_K_M"), deployment).at(deployment)
    assert found.total == whole.total
    placement = place(found, machine(64, 3))
    assert placement.kind == "layers"
    assert sum(part.bytes for part in placement.parts) == whole.total + whole.compute


def test_memory_that_nobody_knows_leaves_none_and_wants_none():
    assert Part(machine(None, 1).host, 10, 1, 1).headroom == 0


def test_experts_left_on_several_cards_are_divided_by_what_they_hold():
    """Without their experts the first layers are light: the first card takes more of them."""
    placement = place(load(experts=400), machine(50000, 1500, 1500))
    first, second, host = placement.parts
    assert placement.kind == "experts"
    assert first.layers > second.layers
    assert abs(first.bytes - second.bytes) <= 500 * GIB
    assert placement.arguments[-2:] == ("--tensor-split", f"{first.layers},{second.layers + 1}")
    assert host.experts


def test_mlx_runs_on_what_it_has_code_for():
    apple = machine(5000, 2000, unified=True)
    cards = replace(machine(5000, 2000), accelerators=_by("amd", machine(5000, 2000)))
    of_apple = replace(apple, accelerators=_by("apple", apple))
    assert place(load(), of_apple, "mlx-lm").name == "card 0"
    assert place(load(), machine(5000, 2000), "mlx-lm").name == "card 0"
    assert place(load(), cards, "mlx-lm").name == "CPU"


@pytest.mark.parametrize("program", ["onnxruntime-genai"])
def test_a_program_of_the_processor_needs_to_know_its_memory(program):
    with pytest.raises(Missing, match="whose memory is unknown"):
        place(load(), machine(None, 2000), program)


def _by(vendor, hardware):
    return tuple(replace(each, vendor=vendor) for each in hardware.accelerators)
