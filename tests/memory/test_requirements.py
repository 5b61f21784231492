from types import SimpleNamespace

import pytest

from edgepack.errors import UsageError
from edgepack.memory.requirements import requirements
from edgepack.units import GIB


def fit(**changes):
    figures = {
        "longest_context": 8192,
        "decode": SimpleNamespace(low=20.0, high=40.0),
        "prefill": None,
        "footprint": SimpleNamespace(total=4 * GIB),
        "headroom": GIB,
        "bits": 4,
    }
    return SimpleNamespace(**figures | changes)


def unmet(text, **changes):
    return [told for r in requirements(text) if (told := r.unmet(fit(**changes)))]


@pytest.mark.parametrize(
    "text",
    ["ctx>=8192", "tps>=20", "ctx >= 8192 , tps > 19.5", "memory<=4G", "headroom>=1G", "bits<5"],
)
def test_what_holds(text):
    assert unmet(text) == []


def test_what_does_not_hold_is_told():
    assert unmet("ctx>=16384,tps>=20") == ["ctx is 8,192, >= 16,384 wanted"]
    assert unmet("memory<2G") == ["memory is 4.0 GiB, < 2.0 GiB wanted"]


def test_the_low_end_of_a_speed_counts():
    assert unmet("tps>=21") != []


def test_what_is_unknown_meets_nothing():
    assert unmet("prefill>=1") == ["prefill is unknown, >= 1 wanted"]
    assert unmet("tps<1000", decode=None) == ["tps is unknown, < 1,000 wanted"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a requirement"),
        ("ctx", "not a requirement"),
        ("ctx=8192", "not a requirement"),
        ("ctx>=8192,", "not a requirement"),
        ("ctx>=many", "compared with 'many'"),
        ("ctx>=-1", "compared with '-1'"),
        ("ctx>=nan", "compared with 'nan'"),
        ("memory>=lots", "not a size"),
        ("tsp>=1", "unknown figure in --require 'tsp'"),
    ],
)
def test_what_is_no_requirement_is_a_usage_error(text, message):
    with pytest.raises(UsageError, match=message):
        requirements(text)
