import pytest

from edgepack.hardware import Figure, Place
from edgepack.memory import (
    Deployment,
    Loads,
    active_parameters,
    decode_speed,
    prefill_speed,
    weight_bytes,
)
from edgepack.memory.placement import together
from edgepack.memory.speed import prompt_operations
from edgepack.quant.schemes.gguf import scheme
from edgepack.units import GB, GIB, MIB

UNKNOWN = Figure(None, "unknown")


def placed(decoder, name, deployment, bandwidth=UNKNOWN, compute=UNKNOWN):
    load = Loads(decoder, scheme(name), deployment).at(deployment)
    place = Place("CPU", Figure(512 * GIB, "profile"), bandwidth, compute)
    return together(load, place, "whole")


def read(decoder, name, deployment=Deployment(256)):  # noqa: B008  # frozen
    """Bytes of weights that a token takes."""
    (part,) = placed(decoder, name, deployment).parts
    alone = Deployment(deployment.cells)
    from edgepack.memory import kv_cache_bytes

    return part.read - kv_cache_bytes(decoder, alone)


def test_a_tied_embedding_is_read_whole(decoders):
    decoder = decoders["Qwen2.5-0.5B"]
    assert read(decoder, "F16") == weight_bytes(decoder, scheme("F16"))


def test_an_untied_embedding_is_not_read(decoders):
    decoder = decoders["Llama-3.1-8B"]
    spared = weight_bytes(decoder, scheme("F16")) - read(decoder, "F16")
    assert spared == 128256 * 4096 * 2


@pytest.mark.parametrize(
    ("bandwidth", "measured"),
    [
        (120, 20.87),  # Mac mini M4: brand-o/normiebench#3
        (400, 46.2),  # M1 Max: brand-o/normiebench#40
        (760, 111.95),  # RTX 3080: dmatora/LLM-inference-speed-benchmarks#12
    ],
)
def test_published_decodes_lie_in_the_range(decoders, bandwidth, measured):
    """Llama 3.1 8B at Q4_K_M, 128 tokens generated, bandwidth from the data sheet."""
    sheet = Figure(bandwidth * GB, "profile")
    speed = decode_speed(placed(decoders["Llama-3.1-8B"], "Q4_K_M", Deployment(256), sheet))
    assert speed is not None
    assert speed.low < measured < speed.high
    assert speed.high < 2 * speed.low


@pytest.mark.parametrize(
    ("teraflops", "measured"),
    [
        (10.4, 499.58),  # M1 Max, 32 cores: brand-o/normiebench#40
        (330.3, 4668.0),  # RTX 4090: dmatora/LLM-inference-speed-benchmarks#10
    ],
)
def test_published_prefills_lie_in_the_range(decoders, teraflops, measured):
    """Llama 3 8B at 4 and 6 bits, 512 tokens and more, FP16 from the data sheet."""
    decoder, deployment = decoders["Llama-3.1-8B"], Deployment(4096)
    sheet = Figure(round(teraflops * 1e12), "profile")
    placement = placed(decoder, "Q4_K_M", deployment, compute=sheet)
    speed = prefill_speed(decoder, deployment, placement)
    assert speed is not None
    assert speed.low < measured < speed.high


def test_a_prompt_by_hand(decoder_of):
    """2 layers, 4 heads of 64: two operations a weight, and 2 x 2 x 256 x 256 x 2 of attention."""
    decoder = decoder_of()
    assert prompt_operations(decoder, 512) == 2 * active_parameters(decoder) + 2 * 2 * 256 * 256 * 2


def test_a_full_context_is_read_too(decoders):
    """The cache of 32K tokens, 4096 MiB, is read beside the weights, once, not once per slot."""
    decoder, sheet = decoders["Llama-3.1-8B"], Figure(100 * GB, "profile")
    weights = read(decoder, "Q8_0")
    for slots in (1, 4):
        speed = decode_speed(placed(decoder, "Q8_0", Deployment(32768, slots=slots), sheet))
        assert speed is not None
        assert speed.high == pytest.approx(0.85 * 100 * GB / (weights + 4096 * MIB))


def test_a_slot_of_its_own_reads_its_share(decoders):
    decoder, sheet = decoders["Llama-3.1-8B"], Figure(100 * GB, "profile")
    split = Deployment(32768, slots=4, unified=False)
    assert decode_speed(placed(decoder, "Q8_0", split, sheet)) == decode_speed(
        placed(decoder, "Q8_0", Deployment(8192), sheet)
    )


def test_a_measured_copy_promises_more_than_a_sheet(decoders):
    decoder, deployment = decoders["Qwen3-8B"], Deployment(4096)
    measured, sheet = (
        decode_speed(placed(decoder, "Q8_0", deployment, Figure(GB, origin)))
        for origin in ("measured", "profile")
    )
    assert measured is not None
    assert sheet is not None
    assert measured.low > sheet.low
    assert "measured" in measured.basis
    assert "sheet" in sheet.basis


def test_unknown_figures_give_no_number(decoders):
    decoder, deployment = decoders["Qwen3-8B"], Deployment(4096)
    placement = placed(decoder, "Q8_0", deployment)
    assert decode_speed(placement) is None
    assert prefill_speed(decoder, deployment, placement) is None
