"""A report as JUnit XML: a test case for each gate in each span, so that CI shows what failed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING
from xml.etree import ElementTree as Xml

if TYPE_CHECKING:
    from edgepack.fidelity.gates import Check
    from edgepack.fidelity.report import FidelityReport

# what XML 1.0 cannot hold, even escaped
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(reports: Sequence[tuple[str, FidelityReport]]) -> str:
    """The XML text of reports and the names of their artifacts: a suite for each."""
    suites = Xml.Element("testsuites", name="edgepack validate")
    for name, report in reports:
        _suite(suites, _clean(name), report)
    Xml.indent(suites)
    declaration = '<?xml version="1.0" encoding="UTF-8"?>\n'
    return declaration + Xml.tostring(suites, encoding="unicode") + "\n"


def _suite(suites: Xml.Element, name: str, report: FidelityReport) -> None:
    suite = Xml.SubElement(suites, "testsuite", name=name)
    properties = Xml.SubElement(suite, "properties")
    for key in ("verdict", "profile", "reference", "runtime", "runtime_version"):
        Xml.SubElement(properties, "property", name=key, value=_clean(getattr(report, key)))
    for check in report.gates:
        place = f"edgepack.{check.scope}"
        case = Xml.SubElement(suite, "testcase", classname=place, name=check.figure)
        _outcome(case, check)
    _rest(suite, report)
    suite.set("tests", str(len(suite.findall("testcase"))))
    for count, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(count, str(len(suite.findall(f"testcase/{tag}"))))


def _outcome(case: Xml.Element, check: Check) -> None:
    message = _clean(str(check))
    if check.outcome == "fail":
        Xml.SubElement(case, "failure", message=message, type="limit").text = check.meaning
    elif check.outcome == "undecided" and check.decides:
        Xml.SubElement(case, "error", message=message, type="inconclusive").text = check.meaning
    elif check.outcome == "undecided":
        few = f"{check.tokens} tokens are too few to decide"
        Xml.SubElement(case, "skipped", message=few)


def _rest(suite: Xml.Element, report: FidelityReport) -> None:
    """What no gate has: structure, logits that are not finite, an invalid measurement, losses."""
    told = {str(check) for check in report.gates}
    ratchet = report.ratchet
    losses = ratchet.losses if ratchet else ()
    lost = {f"worse than {ratchet.baseline}: {loss}" for loss in losses} if ratchet else set()
    left = [r for r in report.reasons if r.split("; about ")[0] not in told and r not in lost]
    case = Xml.SubElement(suite, "testcase", classname="edgepack.all", name="comparable")
    if report.verdict == "fail" and left:
        message = _clean("; ".join(left))
        Xml.SubElement(case, "failure", message=message, type="structure")
    for loss in losses:
        place = f"edgepack.baseline.{loss.scope}"
        case = Xml.SubElement(suite, "testcase", classname=place, name=loss.figure)
        if loss.significant:
            Xml.SubElement(case, "failure", message=_clean(str(loss)), type="loss")


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
