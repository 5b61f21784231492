"""A report read again: every key that is not as it was written is refused by name."""

from __future__ import annotations

import copy
import json

import pytest

from edgepack.errors import DamagedInput, UsageError
from edgepack.fidelity.bootstrap import Interval
from edgepack.fidelity.by_document import DocumentFigures
from edgepack.fidelity.earlier import check_report
from edgepack.fidelity.gates import Check
from edgepack.fidelity.report import FidelityReport

WRITTEN = json.loads(
    json.dumps(
        FidelityReport(
            "pass",
            (),
            profile="balanced",
            reference="m",
            corpus="ab",
            gates=(Check("all", "p99 KLD", Interval(0.1, 0.05, float("inf")), 0.5, "undecided"),),
            by_document=(
                DocumentFigures(
                    "all", (0, 2), (9, 8), (0.1, 0.2), (1, 0), (0, 0), (2.0, 1.0), (1, 0)
                ),
            ),
        ).to_dict()
    )
)


def test_what_was_written_is_read():
    check_report(WRITTEN, "before.json")
    older = copy.deepcopy(WRITTEN)
    del older["by_document"][0]["broken"]
    check_report(older, "before.json")


@pytest.mark.parametrize(
    ("path", "value", "key"),
    [
        (("gates",), None, "gates is None"),
        (("gates", 0), "x", "gates[0] is x"),
        (("gates", 0, "scope"), None, "gates[0].scope"),
        (("gates", 0, "figure"), [], "gates[0].figure"),
        (("gates", 0, "limit"), None, "gates[0].limit is None"),
        (("gates", 0, "limit"), float("nan"), "gates[0].limit is nan"),
        (("gates", 0, "limit"), 10**400, "gates[0].limit"),
        (("gates", 0, "interval"), 3, "gates[0].interval is 3"),
        (("gates", 0, "interval", "lower"), "low", "gates[0].interval.lower is low"),
        (("gates", 0, "interval"), {"value": 1, "upper": 2}, "gates[0].interval.lower"),
        (("by_document",), {}, "by_document"),
        (("by_document", 0), "x", "by_document[0] is x"),
        (("by_document", 0, "scope"), 1, "by_document[0].scope"),
        (("by_document", 0, "document"), [0, 0], "by_document[0].document"),
        (("by_document", 0, "tokens"), [9, 0], "by_document[0].tokens[1] is 0"),
        (("by_document", 0, "kl_mean"), [0.1], "by_document[0].kl_mean is 1 values"),
        (("by_document", 0, "kl_mean"), [0.1, None], "by_document[0].kl_mean[1] is None"),
        (("by_document", 0, "kl_mean"), [float("nan"), 1], "by_document[0].kl_mean[0] is nan"),
        (("by_document", 0, "flips"), [True, 0], "by_document[0].flips[0] is True"),
        (("by_document", 0, "hard_flips"), [0.5, 0], "by_document[0].hard_flips[0]"),
        (("by_document", 0, "reference_nll"), None, "by_document[0].reference_nll is None"),
        (("by_document", 0, "broken"), [1], "by_document[0].broken is 1 values"),
        (("by_document", 0, "broken"), "yes", "by_document[0].broken is yes"),
        (("reference",), 3, "reference is 3"),
        (("corpus",), None, "corpus is None"),
    ],
)
def test_what_was_not_is_refused_by_its_key(path, value, key):
    damaged = copy.deepcopy(WRITTEN)
    *inside, last = path
    place = damaged
    for step in inside:
        place = place[step]
    place[last] = value
    with pytest.raises(DamagedInput) as error:
        check_report(damaged, "before.json")
    assert error.value.message.startswith(f"before.json: {key}")


def test_a_report_of_no_measurement_is_nothing_to_hold_to():
    with pytest.raises(UsageError):
        check_report({**WRITTEN, "gates": []}, "before.json")
