"""The page is whole by itself, says what the report says, and is harmless whatever tokens spell."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import pytest

from edgepack.fidelity import charts
from edgepack.fidelity.bootstrap import Interval
from edgepack.fidelity.gates import Check
from edgepack.fidelity.html import page
from edgepack.fidelity.plots import Bar, Trace, bars, trace_map
from edgepack.fidelity.report import FidelityReport, WorstToken

HOSTILE = "</td></svg><script>alert(1)</script>\"'&"
VOID = {"meta", "br", "link", "img"}


@dataclass
class Parsed(HTMLParser):
    """Every tag with its attributes, all text, and that what was opened was closed in order."""

    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    text: str = ""
    open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


class Stored:
    """A report with sections beside its own."""

    def __init__(self, report: FidelityReport, **more: Any) -> None:
        self.data = report.to_dict() | more

    def to_dict(self):
        return self.data


def parsed(*reports) -> Parsed:
    found = Parsed()
    found.feed(page([(f"{HOSTILE}{n}.gguf", report) for n, report in enumerate(reports)]))
    assert found.open == []
    return found


def report(verdict="fail") -> FidelityReport:
    failed = Check("think", "mean KLD", Interval(0.06, 0.055, 0.07), 0.05, "fail", 64, 9000)
    token = WorstToken(
        HOSTILE, 7, "think", 1.5, 2.5, (1, 2), 3, 4, 5, HOSTILE, HOSTILE, HOSTILE, HOSTILE
    )
    return FidelityReport(
        verdict,
        (str(failed), HOSTILE),
        (HOSTILE,),
        profile=HOSTILE,
        worst=(token,),
        gates=(failed,),
    )


SECTIONS = {
    "steps": {
        "traces": 9,
        "damaged_traces": 1,
        "first_damaged": [
            {"document": HOSTILE, "step": 2, "steps": 4, "text": HOSTILE}
            | {"expected_text": HOSTILE, "candidate_text": HOSTILE}
        ],
    },
    "buckets": [{"by": "depth", "lower": 0, "upper": None, "kl_mean": 0.01, "tokens": 7}],
    "structure": [{"name": HOSTILE, "ok": ok, "detail": HOSTILE} for ok in (True, False, None)],
    "generation": {"prompts": 3, HOSTILE: HOSTILE, "replies": [{HOSTILE: HOSTILE}], "ids": [1]},
}


def test_nothing_is_loaded_and_nothing_runs():
    found = parsed(report(), Stored(report(), **SECTIONS))
    assert "script" not in {tag for tag, _ in found.tags}
    for _, attributes in found.tags:
        assert not {"src", "href", "onload", "onerror"} & set(attributes)
    text = page([("a", report())])
    assert "default-src 'none'" in text
    assert not re.search(r"url\(|@import|https?:", text)


def test_all_text_arrives_as_text():
    found = parsed(Stored(report(), **SECTIONS))
    assert found.text.count("<script>alert(1)</script>") >= 12
    for section in ("Gates", "Worst tokens", "Reasoning, step by step", "Structure", "Generation"):
        assert section in found.text


def test_sections_are_there_when_their_figures_are():
    found = parsed(report())
    for section in ("Reasoning", "Structure", "Generation", "Against the baseline", "depth"):
        assert section not in found.text


@pytest.mark.parametrize(
    ("verdict", "invalid", "shown", "kind"),
    [
        ("pass", False, "pass", "verdict pass"),
        ("fail", False, "fail", "verdict fail"),
        ("fail", True, "invalid measurement", "verdict fail"),
        ("inconclusive", False, "inconclusive", "verdict open"),
        ("not_run", False, "not_run", "verdict open"),
    ],
)
def test_the_verdict_stands_first(verdict, invalid, shown, kind):
    found = parsed(Stored(report(verdict), invalid=invalid))
    assert {"class": kind} in [attributes for _, attributes in found.tags]
    assert shown in found.text


def test_a_bar_is_as_long_as_its_figure_in_powers_of_ten():
    svg = bars([Bar("a", 0.01, limit=0.1), Bar("b", 1.0), Bar("none", None)], title="t", decades=4)
    lengths = [float(w) for w in re.findall(r'<rect [^>]* width="([\d.]+)"', svg)]
    marks = re.findall(r'class="limit" x1="([\d.]+)"', svg)
    assert len(lengths) == 2
    whole = 720 - 150 - 24
    assert lengths[1] - lengths[0] == pytest.approx(2 * whole / 3, abs=0.2) or lengths[0] < 3
    assert len(marks) == 1


def test_a_trace_is_well_until_its_damaged_step():
    svg = trace_map([Trace("d", 5, 2)], title="t")
    assert re.findall(r'<rect class="(\w+)"', svg) == ["good", "good", "bad", "after", "after"]
    long = trace_map([Trace("d", 5000, 4000)], title="t")
    assert long.count('class="bad"') == 1
    assert len(re.findall("<rect", long)) < 50


def test_documents_are_counted_by_powers_of_ten():
    figures = {"scope": "all", "kl_mean": [0.2, 0.3, 0.004, 0.0]}
    svg = charts.by_document({"by_document": [figures]})
    assert re.findall(r">(\d+)</text>", svg)[-1] == "2"
    assert "0.1 to 1" in svg
