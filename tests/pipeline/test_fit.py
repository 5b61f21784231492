"""What `pack` chooses, and what `fit` lists."""

from pathlib import Path

import pytest

from edgepack.errors import DoesNotFit, UsageError
from edgepack.models import read_decoder
from edgepack.pipeline.choice import Choice
from edgepack.pipeline.device import Target
from edgepack.pipeline.fit import Settings, fit, weigh
from edgepack.pipeline.quantize import quantize
from edgepack.quant.schemes.overrides import overrides
from edgepack.units import GIB, MIB

REASONER = str(Path(__file__).parents[2] / "fixtures" / "reasoner")


def chosen(memory, choice=None):
    hardware = Target(memory_bytes=memory).hardware(measure=False)
    _, decoder = read_decoder(REASONER)
    return [row.scheme.name for row in weigh(decoder, hardware, Settings(), choice or Choice())]


def test_ample_memory_gets_eight_bits_and_no_more():
    assert chosen(64 * GIB) == ["Q8_0"]


def test_bits_name_the_usual_scheme():
    assert chosen(GIB, Choice(bits=4)) == ["Q4_K_M"]
    assert chosen(GIB, Choice(bits=16)) == ["F16"]


def test_bits_that_a_format_has_not():
    with pytest.raises(UsageError, match="gguf has no scheme of 7 bits"):
        Choice(bits=7).schemes()


def test_what_contradicts_itself():
    with pytest.raises(UsageError, match="both given"):
        Choice(scheme="Q4_K_M", bits=4)
    with pytest.raises(UsageError, match="without --bits"):
        Choice(group=32)
    with pytest.raises(UsageError, match="no scheme was given"):
        Choice().schemes()


def test_a_format_given_twice_counts_once():
    assert [form.name for form in Choice(to=("gguf", "GGUF")).formats] == ["gguf"]


def test_every_format_may_have_a_scheme_of_its_own():
    choice = Choice(to=("gguf:Q6_K", "onnx:int8-g64", "mlx"), bits=4)
    assert [scheme.name for _, scheme in choice.schemes()] == ["Q6_K", "int8-g64", "4bit-g64"]
    assert [pick and pick.name for _, pick in Choice(to=("gguf:Q6_K", "mlx")).picks()] == [
        "Q6_K",
        None,
    ]
    assert Choice(to=("gguf:auto", "mlx:4bit-g32")).picks()[0][1] is None
    with pytest.raises(UsageError, match="gguf was given twice, with Q6_K and no scheme"):
        Choice(to=("gguf:Q6_K", "gguf")).picks()
    for ignored in ({"scheme": "nonsense"}, {"bits": 99}):
        with pytest.raises(UsageError, match="names a scheme of its own"):
            Choice(to=("gguf:Q6_K",), **ignored).picks()


def test_groups_are_for_the_formats_that_have_them():
    choice = Choice(to=("gguf", "mlx"), bits=4, group=32)
    assert [scheme.name for _, scheme in choice.schemes()] == ["Q4_K_M", "4bit-g32"]
    with pytest.raises(UsageError, match="blocks of gguf have fixed sizes"):
        Choice(bits=4, group=32).picks()
    with pytest.raises(UsageError, match="--plain"):
        Choice(bits=4, plain=True).picks()


def test_another_formats_scheme_is_named_as_such():
    with pytest.raises(UsageError, match="Q4_K_M is a scheme of gguf, not of mlx") as caught:
        Choice(to=("mlx",), scheme="Q4_K_M").picks()
    assert "--bits 4" in caught.value.hint


@pytest.mark.parametrize(
    ("form", "scheme", "kept"),
    [("onnx", "int8-g32", "f32"), ("onnx", "F16", "f16"), ("mlx", "8bit-g64", "bf16")],
)
def test_a_cache_that_the_runtime_cannot_keep_is_refused(form, scheme, kept):
    """It would be counted, and the real one would be another."""
    choice = Choice(to=(form,), scheme=scheme)
    (row,) = fit(REASONER, Target(memory_bytes=GIB), Settings(kv_type=kept), choice).rows
    assert row.deployment.kv_type_k == kept
    with pytest.raises(UsageError, match=f"it keeps {kept}|cannot keep a q8_0 cache"):
        fit(REASONER, Target(memory_bytes=GIB), Settings(kv_type="q8_0"), choice)


def test_a_scheme_asked_for_by_name_that_does_not_fit():
    with pytest.raises(DoesNotFit, match="Q4_K_M needs"):
        chosen(16 * MIB, Choice(scheme="q4_k_m"))


def test_one_scheme_can_be_weighed_alone():
    table = fit(REASONER, Target(memory_bytes=GIB), Settings(), Choice(scheme="Q5_1"))
    assert [row.fit.scheme for row in table.rows] == ["Q5_1"]
    assert table.error is None


@pytest.mark.parametrize(
    "asked",
    [
        overrides(["ffn_down=Q8_0"], "F16"),
        overrides(embedding="Q2_K"),
        overrides(["attn=IQ4_NL"], pure=True),
    ],
)
def test_overrides_are_counted_to_the_byte(asked, tmp_path):
    choice = Choice(scheme="Q4_K_M", overrides=asked)
    hardware = Target(memory_bytes=GIB).hardware(measure=False)
    _, decoder = read_decoder(REASONER)
    (row,) = weigh(decoder, hardware, Settings(), choice)
    artifact = quantize(REASONER, choice, tmp_path / "out").artifacts[0]
    assert row.scheme.name == artifact.scheme == "Q4_K_M-custom"
    assert row.fit.footprint.weights == sum(count.size for count in artifact.histogram)


def test_auto_is_chosen_among_overridden_schemes():
    choice = Choice(overrides=overrides(output="F16"))
    assert chosen(64 * GIB, choice) == ["Q8_0-custom"]


def test_auto_takes_no_scheme_that_needs_something_of_the_model():
    with pytest.raises(DoesNotFit, match="the smallest scheme, Q2_K,"):
        chosen(2 * MIB)


def test_overrides_and_importance_are_for_gguf():
    with pytest.raises(UsageError, match="--pure is for gguf, and mlx and onnx was asked for"):
        Choice(to=("mlx", "onnx"), bits=4, overrides=overrides(pure=True)).schemes()
    with pytest.raises(UsageError, match="--imatrix is for gguf"):
        Choice(to=("mlx",), bits=4, imatrix=Path("matrix.gguf")).schemes()
    both = Choice(to=("gguf", "mlx"), bits=4, overrides=overrides(pure=True)).schemes()
    assert [scheme.name for _, scheme in both] == ["Q4_K_M-custom", "4bit-g64"]
