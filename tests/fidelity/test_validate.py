"""The whole measurement, with a runtime whose distance from the reference is chosen."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from edgepack.errors import DamagedInput, UsageError
from edgepack.fidelity import Document, FidelityReport, profile, validate

VOCABULARY = 50
SPANS = ("prompt",) * 100 + ("think",) * 200 + ("control",) * 2 + ("answer",) * 98


class Drawn:
    """Logits drawn from the document's ids, as reference and as runtime; `damage` is added."""

    name, version, vocabulary = "drawn", "1", VOCABULARY

    def __init__(self, documents, damage=0.0):
        self.documents, self.damage = documents, damage

    def logits(self, given):
        ids = self.documents[given].ids if isinstance(given, int) else given
        rng = np.random.default_rng(list(ids))
        logits = 3 * rng.standard_normal((len(ids), VOCABULARY))
        return (logits + self.damage * rng.standard_normal(logits.shape)).astype(np.float32)


@pytest.fixture(scope="module")
def documents():
    rng = np.random.default_rng(0)
    return tuple(
        Document(f"d:{n}", tuple(map(int, rng.integers(0, VOCABULARY, len(SPANS)))), SPANS)
        for n in range(80)
    )


def measure(documents, damage, limits="balanced", **options) -> FidelityReport:
    reference, runtime = Drawn(documents), Drawn(documents, damage)
    limits = profile(limits)
    return validate(reference, runtime, documents, limits, identity="drawn", **options)


def test_noise_gives_half_its_variance_as_divergence(documents):
    """For small independent noise s on logits, KLD is s^2 / 2 times 1 - sum p^2, averaged."""
    damage = 0.01
    p = np.concatenate([Drawn(documents).logits(n)[:-1].astype(float) for n in range(80)])
    p = np.exp(p) / np.exp(p).sum(1, keepdims=True)
    expected = damage**2 / 2 * (1 - (p**2).sum(1).mean())
    report = measure(documents, damage)
    assert report.overall.kl_mean.value == pytest.approx(expected, rel=0.02)
    assert report.overall.kl_mean.lower < expected < report.overall.kl_mean.upper


def test_a_good_artifact_passes_and_says_how_it_was_measured(documents):
    told = []
    report = measure(
        documents, 0.01, text_of=lambda i: f"<{i}>", progress=lambda *done: told.append(done)
    )
    assert (report.verdict, report.reasons) == ("pass", ())
    assert not report.powered  # 80 documents, 31,920 tokens
    assert (report.documents, report.tokens) == (80, 80 * 399)
    assert [s.scope for s in report.spans] == ["prompt", "think", "answer", "control"]
    assert sum(s.tokens for s in report.spans) == report.tokens
    assert told[0] == (1, 80)
    assert told[-1] == (80, 80)


def test_a_bad_artifact_fails(documents):
    report = measure(documents, 1.0)
    assert report.verdict == "fail"
    assert any(reason.startswith("all: mean KLD") for reason in report.reasons)
    assert any(reason.startswith("control: hard flips") for reason in report.reasons)


def test_another_model_altogether_is_an_invalid_measurement(documents):
    report = measure(documents, 20.0, "aggressive")
    assert report.verdict == "fail"
    assert "invalid measurement" in report.reasons[0]


def test_the_worst_tokens_are_shown_with_their_context(documents):
    planted = Drawn(documents)

    class Faulty(Drawn):
        def logits(self, given):
            logits = super().logits(given)
            if given == documents[7].ids:
                logits[249, :] = 0
                logits[249, 11] = 30
            return logits

    report = validate(
        planted, Faulty(documents), documents, profile(), identity="", text_of=lambda i: f"<{i}>"
    )
    assert len(report.worst) == 20
    worst, ids = report.worst[0], documents[7].ids
    assert (worst.document, worst.position, worst.span) == ("d:7", 250, "think")
    assert (worst.expected, worst.candidate_top) == (ids[250], 11)
    assert worst.context == ids[234:250]
    assert worst.context_text.endswith(f"<{ids[249]}>")
    assert worst.candidate_text == "<11>"


def test_logits_that_are_not_finite_fail_and_come_first(documents):
    class Broken(Drawn):
        def logits(self, given):
            logits = super().logits(given)
            if given == documents[3].ids:
                logits[5, 0] = np.nan
            return logits

    report = validate(Drawn(documents), Broken(documents), documents, profile(), identity="")
    assert report.verdict == "fail"
    assert "not finite at 1 token" in report.reasons[0]
    assert (report.worst[0].document, report.worst[0].position) == ("d:3", 6)
    assert report.to_dict()["worst"][0]["kl"] is None


def test_a_report_is_plain_json_and_the_same_every_time(documents):
    first, again = (json.dumps(measure(documents, 0.1).to_dict()) for _ in range(2))
    assert first == again
    read = json.loads(first)
    assert read["schema_version"] == 1
    assert set(read["overall"]["kl_mean"]) == {"value", "lower", "upper"}
    json.dumps(measure(documents[:2], 0.1).to_dict(), allow_nan=False)


def test_not_run():
    report = FidelityReport.not_run("asked not to")
    assert (report.verdict, report.reasons) == ("not_run", ("asked not to",))
    assert report.to_dict()["overall"] is None


def test_two_documents_bound_nothing(documents):
    assert measure(documents[:2], 0.1).verdict == "inconclusive"


def test_what_cannot_be_compared_is_refused(documents):
    with pytest.raises(UsageError, match="no documents"):
        measure((), 0.0)
    short = [replace(document, ids=document.ids[:-1]) for document in documents]
    with pytest.raises(DamagedInput, match=r"399, 50.*400, 50"):
        validate(Drawn(short), Drawn(documents), documents, profile(), identity="")

    class Broken(Drawn):
        def logits(self, given):
            return super().logits(given) * np.float32(np.nan)

    with pytest.raises(DamagedInput, match="reference's logits are not finite"):
        validate(Broken(documents), Drawn(documents), documents, profile(), identity="")


def test_importing_the_scales_imports_no_runtime():
    code = "import sys, edgepack.fidelity; print([m for m in sys.modules if 'llama' in m])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]"
