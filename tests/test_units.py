"""Rates as people write them."""

from __future__ import annotations

import pytest

from edgepack.errors import UsageError
from edgepack.units import parse_rate


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("1000G", 10**12),
        ("1000GB/s", 10**12),
        ("1000 GB/s", 10**12),
        ("936.2G", 936_200_000_000),
        ("936.2GB", 936_200_000_000),
        ("1.008T", 1_008_000_000_000),
        ("17000M", 17 * 10**9),
        ("448g", 448 * 10**9),
        (" 448G ", 448 * 10**9),
    ],
)
def test_rates(text, rate):
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1000",
        "1000Gb/s",
        "1000Gbps",
        "1000GiB/s",
        "-1G",
        "0G",
        "fast",
        "1e3G",
        "G",
        "9" * 400 + "G",
    ],
)
def test_what_is_no_rate(text):
    with pytest.raises(UsageError, match="is not a bandwidth") as caught:
        parse_rate(text)
    assert "1000G" in caught.value.hint
