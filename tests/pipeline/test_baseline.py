"""Earlier reports in a file: refused before anything is measured, with the report's number."""

from __future__ import annotations

import json

import pytest

from edgepack.errors import DamagedInput
from edgepack.fidelity import FidelityReport
from edgepack.fidelity.bootstrap import Interval
from edgepack.fidelity.gates import Check
from edgepack.pipeline.baseline import hold, read_baseline

GATE = Check("all", "mean KLD", Interval(0.01, 0.009, 0.011), 0.05, "pass")
REPORT = FidelityReport("pass", (), profile="balanced", reference="m", corpus="ab", gates=(GATE,))


@pytest.fixture
def written(tmp_path):
    def write(*reports):
        path = tmp_path / "before.json"
        held = {"reports": list(reports)} if len(reports) > 1 else reports[0]
        path.write_text(json.dumps({"result": held}))
        return path

    return write


def test_one_report_or_several_are_read(written):
    one = REPORT.to_dict()
    assert read_baseline(written(one)) == (one,)
    assert read_baseline(written(one, one)) == (one, one)


def test_a_damaged_report_is_refused_by_number_and_key(written):
    with pytest.raises(DamagedInput) as error:
        read_baseline(written(REPORT.to_dict(), {**REPORT.to_dict(), "gates": None}))
    assert "before.json, report 2: gates is None" in error.value.message


def test_an_artifact_that_did_not_run_beside_one_that_did(written):
    unrun = FidelityReport("fail", ("rope: is missing",), profile="balanced", reference="m")
    found = hold((unrun, REPORT), written(REPORT.to_dict()))
    assert found[0] == unrun
    assert found[1].verdict == "pass"
