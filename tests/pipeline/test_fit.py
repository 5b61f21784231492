"""What `pack` chooses, and what `fit` lists."""

from pathlib import Path

import pytest

from edgepack.errors import DoesNotFit, UsageError
from edgepack.models import read_decoder
from edgepack.pipeline.choice import Choice
from edgepack.pipeline.device import Target
from edgepack.pipeline.fit import Settings, fit, weigh
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


def test_a_scheme_asked_for_by_name_that_does_not_fit():
    with pytest.raises(DoesNotFit, match="Q4_K_M needs"):
        chosen(16 * MIB, Choice(scheme="q4_k_m"))


def test_one_scheme_can_be_weighed_alone():
    table = fit(REASONER, Target(memory_bytes=GIB), Settings(), Choice(scheme="Q5_1"))
    assert [row.fit.scheme for row in table.rows] == ["Q5_1"]
    assert table.nothing_fits is None
