"""Profiles of one's own, read strictly, and what holds in which span."""

from __future__ import annotations

import pytest

from edgepack.errors import DamagedInput, Missing, UsageError
from edgepack.fidelity.limits import SpanLimits, profile


@pytest.fixture
def written(tmp_path):
    def write(text: str) -> str:
        path = tmp_path / "ours.toml"
        path.write_text(text)
        return str(path)

    return write


def test_a_file_states_what_differs_from_its_base(written):
    found = profile(written('base = "near-lossless"\n[limits]\nkl_mean = 0.01\nhard_flips = 0\n'))
    base = profile("near-lossless")
    assert (found.name, found.base) == ("ours", "near-lossless")
    assert (found.kl_mean, found.hard_flips) == (0.01, 0)
    assert (found.kl_p99, found.top1) == (base.kl_p99, base.top1)


def test_a_span_has_its_own_limits_before_the_profiles(written):
    found = profile(written("[spans.think]\nkl_mean = 0.02\n[spans.tool_call]\nhard_flips = 0.1\n"))
    balanced = profile("balanced")
    assert found.within("think") == SpanLimits(0.02, 0.5, 2.0, 0.91, 0.005)
    assert found.within("tool_call") == SpanLimits(0.025, 0.5, 2.0, 0.91, 0.1)
    assert found.within("control").hard_flips == 0
    assert found.within("answer") == balanced.within("answer") == balanced.within("all")


def test_first_choices_in_the_prompt_are_limited_only_by_name(written):
    assert profile("balanced").within("prompt").top1 is None
    assert profile(written("[spans.prompt]\ntop1 = 0.8\n")).within("prompt").top1 == 0.8


@pytest.mark.parametrize(
    ("text", "found", "hint"),
    [
        ("[limits]\nkl_man = 1\n", "kl_man", "kl_mean"),
        ("[span.think]\n", "span", "spans"),
        ("[spans.thnk]\n", "thnk", "think"),
        ('base = "balance"\n', "balance", "balanced"),
        ("[spans.think]\nbroken_documents = 0\n", "broken_documents", "known"),
        ("[limits]\nkl_mean = 0\n", "kl_mean is 0", "above zero"),
        ("[limits]\ntop1 = 91\n", "top1 is 91", "from 0 to 1"),
        ("[limits]\nhard_flips = true\n", "hard_flips is True", "from 0 to 1"),
        ("[limits]\ntop1 = nan\n", "top1 is nan", "from 0 to 1"),
        ("[limits]\nfloor_multiple = 101\n", "floor_multiple is 101", "from 0 to 100"),
        ("[limits]\nfloor_multiple = -1\n", "floor_multiple is -1", "from 0 to 100"),
        ("[limits]\nfloor_multiple = nan\n", "floor_multiple is nan", "from 0 to 100"),
        ('name = "balanced"\n', "its name 'balanced'", "our-balanced"),
        ("limits = 3\n", "limits is 3", "[limits]"),
        ("[limits\n", "ours.toml", "TOML"),
    ],
)
def test_what_is_not_understood_is_refused_with_the_nearest(written, text, found, hint):
    with pytest.raises(UsageError) as error:
        profile(written(text))
    assert found in error.value.message
    assert hint in error.value.hint


def test_a_file_that_is_not_there_is_missing(tmp_path):
    with pytest.raises(Missing) as error:
        profile(str(tmp_path / "none.toml"))
    assert error.value.exit_code == 6


def test_a_file_that_is_no_text_is_damaged(tmp_path):
    path = tmp_path / "ours.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DamagedInput):
        profile(str(path))


def test_a_file_called_as_a_known_profile_is_refused_unless_it_names_itself(tmp_path):
    path = tmp_path / "convert.toml"
    path.write_text("[limits]\nkl_mean = 9\n")
    with pytest.raises(UsageError) as error:
        profile(str(path))
    assert "its name 'convert'" in error.value.message
    path.write_text('name = "ours"\n[limits]\nkl_mean = 9\n')
    assert profile(str(path)).name == "ours"


def test_the_floor_is_switched_off_by_zero(written):
    text = 'base = "convert"\n[limits]\nfloor_multiple = 0\n'
    assert profile("convert").floor_multiple == 3
    assert profile(written(text)).floor_multiple == 0
