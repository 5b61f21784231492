import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepack.errors import DoesNotFit, Missing
from edgepack.memory import (
    Deployment,
    choose,
    fit,
    fit_all,
    footprint,
    longest_context,
    reserve,
    weight_bytes,
)
from edgepack.quant.schemes.gguf import FAITHFUL, scheme
from edgepack.units import GB, GIB, MIB


def test_an_8b_model_on_8_gib(decoders, device):
    decoder, small = decoders["Llama-3.1-8B"], device(8 * GIB, 120 * GB)
    verdicts = {
        each.scheme: each.fits for each in fit_all(decoder, small, Deployment(4096), FAITHFUL)
    }
    assert not verdicts["F16"]
    assert not verdicts["Q8_0"]
    assert verdicts["Q6_K"]
    assert verdicts["Q4_K_M"]


def test_headroom_is_what_is_left(decoders, device):
    decoder = decoders["Llama-3.2-1B"]
    need = footprint(decoder, scheme("Q8_0"), Deployment(4096)).total
    exact = fit(decoder, scheme("Q8_0"), device(need), Deployment(4096))
    short = fit(decoder, scheme("Q8_0"), device(need - 1), Deployment(4096))
    assert (exact.headroom, exact.fits, exact.comfortable) == (0, True, False)
    assert (short.headroom, short.fits) == (-1, False)
    assert exact.decode is None
    assert any("bandwidth" in note for note in exact.notes)


def test_the_reserve_is_5_percent_and_at_least_64_mib():
    assert reserve(GIB) == 64 * MIB
    assert reserve(100 * GIB) == 5 * GIB


@settings(max_examples=60, deadline=None, database=None)
@given(spare=st.integers(0, 24 * GIB), slots=st.integers(1, 5), unified=st.booleans())
def test_the_longest_context_is_the_longest(decoders, spare, slots, unified):
    decoder = decoders["Llama-3.1-8B"]

    def total(context):
        plan = Deployment(context, slots=slots, unified=unified)
        return footprint(decoder, scheme("Q4_0"), plan).total

    weights = weight_bytes(decoder, scheme("Q4_0"))
    budget = weights + spare
    longest = longest_context(decoder.context_length, lambda context: total(context) <= budget)
    assert longest % 256 == 0
    if longest:
        assert total(longest) <= weights + spare
    if longest < decoder.context_length:
        assert total(longest + 256) > weights + spare


def longest_within(decoder, budget, deployment=Deployment(4096)):  # noqa: B008  # frozen
    def within(context):
        return (
            footprint(decoder, scheme("Q8_0"), replace(deployment, context=context)).total <= budget
        )

    return longest_context(decoder.context_length, within)


def test_the_longest_context_by_hand(decoders):
    """Llama 3.1 8B, f16: 128 KiB of cache and 1 KiB of mask per token; a budget that is met
    exactly by 10,240 tokens does not hold 10,496."""
    decoder = decoders["Llama-3.1-8B"]
    base = footprint(decoder, scheme("Q8_0"), Deployment(1024))
    budget = base.total + (10240 - 1024) * 129 * 1024
    assert longest_within(decoder, budget) == 10240
    assert longest_within(decoder, budget - 1) == 9984
    assert longest_within(decoder, 200 * GIB) == 131072
    assert longest_within(decoder, base.weights) == 0


def test_an_odd_trained_context_is_reached_whole(decoder_of):
    decoder = decoder_of(context_length=1000)
    assert longest_within(decoder, GIB) == 1000


def test_quantizing_the_cache_buys_context(decoders):
    decoder = decoders["Llama-3.1-8B"]
    budget = weight_bytes(decoder, scheme("Q8_0")) + 4 * GIB
    f16 = longest_within(decoder, budget)
    q8 = longest_within(decoder, budget, Deployment(4096, "q8_0", "q8_0"))
    assert 1.8 * f16 < q8 < 1.9 * f16


def test_a_context_beyond_the_trained_one_is_noted(decoder_of, device):
    verdict = fit(decoder_of(), scheme("F16"), device(GIB, GB), Deployment(4096))
    assert verdict.notes == ("a context of 4096 is beyond the 2048 tokens the model takes",)
    assert verdict.longest_context == 2048


def test_unknown_memory_asks_for_it(decoder_of, device):
    with pytest.raises(Missing, match="test device") as caught:
        fit(decoder_of(), scheme("F16"), device(None), Deployment(256))
    assert "--memory" in caught.value.hint


def test_assumed_memory_is_noted(decoder_of, device):
    assumed = device(GIB, GB, origin="unknown")
    verdict = fit(decoder_of(), scheme("F16"), assumed, Deployment(256))
    assert any("assumption" in note for note in verdict.notes)


def test_what_does_not_fit_the_card_runs_there_in_part(decoders, device):
    """2 GiB of card in 128 GiB of host: Llama 3.2 1B at Q8_0 fits it, at F16 it does not."""
    hardware = device(128 * GIB, 50 * GB, gpu=(2 * GIB, 500 * GB))
    decoder = decoders["Llama-3.2-1B"]
    on_card, in_part = (
        fit(decoder, scheme(name), hardware, Deployment(4096)) for name in ("Q8_0", "F16")
    )
    assert (on_card.fits, on_card.place, on_card.preferred) == (True, "test card", True)
    assert (in_part.fits, in_part.preferred) == (True, False)
    assert in_part.placement.kind == "layers"
    assert (on_card.budget, in_part.budget) == (2 * GIB, 130 * GIB)
    assert on_card.notes == ()
    assert in_part.notes[0].startswith("F16 does not fit test card alone: it runs on test card (")
    on_host = fit(decoder, scheme("F16"), device(128 * GIB, 50 * GB), Deployment(4096))
    assert in_part.decode.low > on_host.decode.low


def test_what_fits_nowhere_is_held_against_the_largest_place(decoders, device):
    hardware = device(16 * GIB, 50 * GB, gpu=(2 * GIB, 500 * GB))
    verdict = fit(decoders["Llama-3.1-70B"], scheme("Q4_0"), hardware, Deployment(4096))
    assert not verdict.fits
    assert verdict.budget == 16 * GIB
    assert verdict.notes == ()


@pytest.mark.parametrize(
    ("model", "card", "chosen"),
    [
        ("Llama-3.1-8B", 12 * GIB, ("Q8_0", "whole")),
        ("Llama-3.1-8B", 8 * GIB, ("Q6_K", "whole")),  # fast at 6 bits, not slow at 8
        ("Llama-3.1-8B", 4 * GIB, ("Q8_0", "layers")),  # nor fast at 3
    ],
)
def test_auto_weighs_speed_against_bits(decoders, device, model, card, chosen):
    hardware = device(64 * GIB, 50 * GB, gpu=(card, 500 * GB))
    found = _choose(decoders[model], hardware, 4096)
    assert (found.scheme, found.placement.kind) == chosen


EIGHT_BITS = [s for s in FAITHFUL if s.bits <= 8]


def _choose(decoder, hardware, context, schemes=EIGHT_BITS):
    return choose(fit_all(decoder, hardware, Deployment(context), schemes))


def test_ample_memory_gets_the_most_faithful(decoders, device):
    assert _choose(decoders["Qwen3-0.6B"], device(64 * GIB), 4096).scheme == "Q8_0"


def test_the_most_faithful_comfortable_scheme_is_chosen(decoders, device):
    chosen = _choose(decoders["Llama-3.1-8B"], device(8 * GIB), 4096)
    assert chosen.scheme == "Q6_K"
    assert chosen.comfortable


def test_a_tight_scheme_is_passed_over(decoders, device):
    decoder = decoders["Llama-3.1-8B"]
    need = footprint(decoder, scheme("Q8_0"), Deployment(4096)).total
    assert _choose(decoder, device(need), 4096).scheme == "Q6_K"
    assert _choose(decoder, device(int(need / 0.95) + 2), 4096).scheme == "Q8_0"


def test_only_a_tight_fit_is_an_error_that_names_it(decoders, device):
    decoder = decoders["Llama-3.2-1B"]
    need = footprint(decoder, scheme("Q2_K"), Deployment(4096)).total
    with pytest.raises(DoesNotFit, match="kept free") as caught:
        _choose(decoder, device(need), 4096)
    assert "--scheme Q2_K" in caught.value.hint


def test_too_long_a_context_is_an_error_that_names_a_shorter_one(decoders, device):
    decoder = decoders["Llama-3.1-8B"]
    with pytest.raises(DoesNotFit, match=r"Q2_K, needs .* GiB at a context of 131072") as caught:
        _choose(decoder, device(6 * GIB), 131072)
    context = int(caught.value.hint.rsplit(maxsplit=1)[1])
    assert fit(decoder, scheme("Q2_K"), device(6 * GIB), Deployment(context)).fits


def test_a_model_too_large_is_an_error_that_says_so(decoders, device):
    with pytest.raises(DoesNotFit, match=r"offers 8.0 GiB") as caught:
        _choose(decoders["Llama-3.1-70B"], device(8 * GIB), 4096)
    assert "smaller model" in caught.value.hint
    assert caught.value.exit_code == 3


def test_nothing_heavy_is_imported():
    heavy = "{'numpy', 'numba', 'xllamacpp', 'gguf'} & set(sys.modules)"
    script = f"import sys, edgepack.memory; sys.exit(str({heavy}) if {heavy} else 0)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
