"""What CI reads: a case for each gate and span, and XML whatever the text."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as Xml

import pytest

from edgepack.fidelity.bootstrap import Interval
from edgepack.fidelity.gates import Check
from edgepack.fidelity.junit import junit
from edgepack.fidelity.ratchet import Loss, Ratchet
from edgepack.fidelity.report import FidelityReport

NONE = Interval(0.0, 0.0, 0.0)
PASSED = Check("all", "mean KLD", NONE, 0.05, "pass", 64, 9000)
FAILED = Check("think", "mean KLD", Interval(0.06, 0.055, 0.07), 0.05, "fail", 64, 9000)
OPEN = Check("all", "hard flips", Interval(0.004, 0.0, 0.006), 0.005, "undecided", 64, 9000)
SHORT = replace(OPEN, scope="answer", tokens=90, decides=False)


def suites(**options) -> Xml.Element:
    report = FidelityReport(
        **{"verdict": "fail", "reasons": (str(FAILED),), "gates": (PASSED, FAILED, OPEN, SHORT)}
        | options
    )
    return Xml.fromstring(junit([("model.gguf", report)]))


def cases(root: Xml.Element) -> dict[tuple[str, str], list[str]]:
    return {
        (case.get("classname"), case.get("name")): [child.tag for child in case]
        for case in root.iter("testcase")
    }


def test_each_gate_of_each_span_is_a_case_with_its_outcome():
    root = suites()
    assert cases(root) == {
        ("edgepack.all", "mean KLD"): [],
        ("edgepack.think", "mean KLD"): ["failure"],
        ("edgepack.all", "hard flips"): ["error"],
        ("edgepack.answer", "hard flips"): ["skipped"],
        ("edgepack.all", "comparable"): [],
    }
    (suite,) = root
    counts = {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "5", "failures": "1", "errors": "1", "skipped": "1"}


def test_a_failure_says_what_was_measured_and_what_it_means():
    failure = suites().find(".//failure")
    assert failure.get("message") == str(FAILED)
    assert failure.text == FAILED.meaning


def test_what_no_gate_has_is_a_failure_too():
    root = suites(reasons=("tokenizer: splits otherwise", str(FAILED)))
    failure = root.find(".//testcase[@name='comparable']/failure")
    assert failure.get("message") == "tokenizer: splits otherwise"


@pytest.mark.parametrize("significant", [True, False])
def test_losses_against_the_baseline_are_cases(significant):
    loss = Loss("think", "mean KLD", 0.01, 0.02, Interval(0.01, 0.005, 0.02), significant)
    reasons = (f"worse than b.json: {loss}",) if significant else ()
    root = suites(ratchet=Ratchet("b.json", 64, (loss,)), reasons=reasons)
    found = cases(root)
    assert found["edgepack.baseline.think", "mean KLD"] == ["failure"] * significant
    assert found["edgepack.all", "comparable"] == []


def test_text_that_xml_cannot_hold_is_replaced():
    root = suites(reasons=('\x00 <b>&"\ud800',))
    failure = root.find(".//testcase[@name='comparable']/failure")
    assert failure.get("message") == '\ufffd <b>&"\ufffd'
