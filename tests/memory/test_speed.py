import pytest

from edgepack.hardware import Figure
from edgepack.memory import Deployment, active_weight_bytes, decode_speed, weight_bytes
from edgepack.quant.schemes.gguf import scheme
from edgepack.units import GB, MIB


def test_a_tied_embedding_is_read_whole(decoders):
    decoder = decoders["Qwen2.5-0.5B"]
    assert active_weight_bytes(decoder, scheme("F16")) == weight_bytes(decoder, scheme("F16"))


def test_an_untied_embedding_is_not_read(decoders):
    decoder = decoders["Llama-3.1-8B"]
    spared = weight_bytes(decoder, scheme("F16")) - active_weight_bytes(decoder, scheme("F16"))
    assert spared == 128256 * 4096 * 2


@pytest.mark.parametrize(
    ("bandwidth", "measured"),
    [
        (120, 20.87),  # Mac mini M4: brand-o/normiebench#3
        (400, 46.2),  # M1 Max: brand-o/normiebench#40
    ],
)
def test_published_runs_lie_in_the_range(decoders, bandwidth, measured):
    """Llama 3.1 8B at Q4_K_M, 128 tokens generated, bandwidth from the data sheet."""
    speed = decode_speed(
        decoders["Llama-3.1-8B"],
        scheme("Q4_K_M"),
        Deployment(256),
        Figure(bandwidth * GB, "profile"),
    )
    assert speed is not None
    assert speed.low < measured < speed.high
    assert speed.high < 2 * speed.low


def test_a_full_context_is_read_too(decoders):
    """The cache of 32K tokens, 4096 MiB, is read beside the weights, once, not once per slot."""
    decoder, sheet = decoders["Llama-3.1-8B"], Figure(100 * GB, "profile")
    weights = active_weight_bytes(decoder, scheme("Q8_0"))
    for slots in (1, 4):
        speed = decode_speed(decoder, scheme("Q8_0"), Deployment(32768, slots=slots), sheet)
        assert speed is not None
        assert speed.high == pytest.approx(0.85 * 100 * GB / (weights + 4096 * MIB))


def test_a_slot_of_its_own_reads_its_share(decoders):
    decoder, sheet = decoders["Llama-3.1-8B"], Figure(100 * GB, "profile")
    split = Deployment(32768, slots=4, unified=False)
    assert decode_speed(decoder, scheme("Q8_0"), split, sheet) == decode_speed(
        decoder, scheme("Q8_0"), Deployment(8192), sheet
    )


def test_a_measured_copy_promises_more_than_a_sheet(decoders):
    decoder, deployment = decoders["Qwen3-8B"], Deployment(4096)
    measured = decode_speed(decoder, scheme("Q8_0"), deployment, Figure(GB, "measured"))
    sheet = decode_speed(decoder, scheme("Q8_0"), deployment, Figure(GB, "profile"))
    assert measured is not None
    assert sheet is not None
    assert measured.low > sheet.low
    assert "measured" in measured.basis
    assert "sheet" in sheet.basis


def test_unknown_bandwidth_gives_no_number(decoders):
    unknown = Figure(None, "unknown")
    assert decode_speed(decoders["Qwen3-8B"], scheme("Q8_0"), Deployment(4096), unknown) is None
