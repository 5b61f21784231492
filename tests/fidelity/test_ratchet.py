"""A loss against an earlier report: seen where it is, not seen where it is not."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from edgepack.errors import UsageError
from edgepack.fidelity import Document, profile, validate
from edgepack.fidelity.ratchet import held_to, sign_test
from edgepack.fidelity.report import FidelityReport

VOCABULARY = 40
SPANS = ("prompt",) * 10 + ("think",) * 40 + ("answer",) * 10
DOCUMENTS = tuple(
    Document(f"d:{n}", tuple(map(int, row)), SPANS)
    for n, row in enumerate(np.random.default_rng(1).integers(0, VOCABULARY, (64, len(SPANS))))
)


class Noisy:
    """Logits by the ids alone, with noise of a size; `hard` documents have ten times as much."""

    name, version, vocabulary = "noisy", "1", VOCABULARY

    def __init__(self, damage=0.0, seed=0, scale=3.0, hard=20):
        self.damage, self.seed, self.scale, self.hard = damage, seed, scale, hard

    def logits(self, given):
        index = given if isinstance(given, int) else [d.ids for d in DOCUMENTS].index(tuple(given))
        rng = np.random.default_rng(list(DOCUMENTS[index].ids))
        logits = self.scale * rng.standard_normal((len(SPANS), VOCABULARY))
        noise = np.random.default_rng([self.seed, index]).standard_normal(logits.shape)
        size = self.damage * (10 if index < self.hard else 1)
        return (logits + size * noise).astype(np.float32)


def measured(damage, reference=None, limits="balanced", documents=DOCUMENTS, **options):
    return validate(
        reference or Noisy(),
        Noisy(damage, **options),
        documents,
        profile(limits),
        identity="noisy",
    )


def earlier(report):
    """As the file has it."""
    return json.loads(json.dumps(report.to_dict()))


def test_the_same_artifact_has_lost_nothing():
    found = held_to(measured(0.01), earlier(measured(0.01)), "before.json")
    assert found.verdict == "pass"
    assert found.ratchet.paired == 64
    assert not any(loss.significant for loss in found.ratchet.losses)


def test_a_loss_inside_the_limits_fails_by_name():
    found = held_to(measured(0.02), earlier(measured(0.01)), "before.json")
    assert measured(0.02).verdict == "pass"
    assert found.verdict == "fail"
    assert found.reasons[0].startswith("worse than before.json: all: mean KLD was ")


def test_a_gain_is_no_loss():
    found = held_to(measured(0.01), earlier(measured(0.02)), "before.json")
    assert found.verdict == "pass"
    assert all(loss.loss.value <= 0 for loss in found.ratchet.losses)


def test_other_noise_of_the_same_size_is_no_loss():
    before = earlier(measured(0.02, seed=1))
    for seed in range(2, 12):
        assert held_to(measured(0.02, seed=seed), before, "b").verdict == "pass"


def test_pairs_see_what_bounds_do_not():
    """A third of the documents are far harder: what differs between documents hides the loss."""
    now, before = measured(0.023), earlier(measured(0.02))
    assert held_to(now, before, "b").verdict == "fail"
    unpaired = held_to(now, {**before, "by_document": []}, "b")
    assert unpaired.ratchet.paired == 0
    assert unpaired.verdict == "pass"
    assert held_to(measured(0.08), {**before, "by_document": []}, "b").verdict == "fail"


def test_a_loss_of_rounding_is_none():
    """Significant it is, and a hundredth of a hundredth of the limit."""
    found = held_to(measured(2e-4), earlier(measured(1e-4)), "b")
    assert found.verdict == "pass"
    assert found.ratchet.losses[0].loss.lower > 0


def test_what_failed_stays_failed_with_both_reasons():
    found = held_to(measured(0.5), earlier(measured(0.01)), "b")
    assert found.reasons[0].startswith("all: mean KLD")
    assert found.reasons[-1].startswith("worse than b")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"reference": "other"}, "reference is 'other', not 'noisy'"),
        ({"profile": "convert"}, "profile is 'convert'"),
        ({"corpus": "0" * 64}, "corpus is '0000"),
        ({"corpus": None}, "corpus is 'None'"),
    ],
)
def test_a_baseline_of_something_else_is_refused_by_name(changed, told):
    with pytest.raises(UsageError) as error:
        held_to(measured(0.01), {**earlier(measured(0.01)), **changed}, "before.json")
    assert error.value.message.startswith("before.json: its ")
    assert told in error.value.message


def test_another_checkpoint_of_the_same_name_is_refused():
    other = measured(0.01, reference=Noisy(scale=2.9), scale=2.9)
    with pytest.raises(UsageError) as error:
        held_to(measured(0.01), earlier(other), "b")
    assert "another checkpoint of the same name" in error.value.message


def test_a_profile_of_the_same_name_with_other_limits_is_refused():
    limits = replace(profile("balanced"), kl_mean=0.04)
    now = validate(Noisy(), Noisy(0.01), DOCUMENTS, limits, identity="noisy")
    with pytest.raises(UsageError) as error:
        held_to(now, earlier(measured(0.01)), "b")
    assert "limits mean KLD of all to 0.05, not 0.04" in error.value.message


def test_what_was_never_measured_stays_the_failure_it_is():
    unrun = FidelityReport("fail", ("rope: is missing",), profile="balanced", reference="noisy")
    assert held_to(unrun, earlier(measured(0.01)), "b") == unrun


def with_broken(report, broken):
    """The report with the first `broken` documents broken, at the same distances."""
    hit = tuple(int(place < broken) for place in range(len(DOCUMENTS)))
    whole, *spans = report.by_document
    return replace(report, by_document=(replace(whole, broken=hit), *spans))


@pytest.mark.parametrize(("broken", "verdict"), [(0, "pass"), (4, "pass"), (16, "fail")])
def test_documents_that_broke_are_a_loss_where_they_are_more_than_chance(broken, verdict):
    plain = measured(0.01)
    found = held_to(with_broken(plain, broken), earlier(with_broken(plain, 0)), "b")
    (loss,) = [loss for loss in found.ratchet.losses if loss.figure == "broken documents"]
    assert loss.loss.value == broken / 64
    assert (found.verdict, loss.significant) == (verdict, verdict == "fail")


def test_a_document_is_broken_by_one_token():
    figures = measured(0.5).by_document[0]
    assert 0 < sum(figures.broken) <= 64
    assert sum(figures.broken) / 64 == pytest.approx(measured(0.5).overall.broken_documents.value)


def test_an_earlier_report_that_does_not_tell_broken_documents_is_compared_in_the_rest():
    before = earlier(measured(0.01))
    for figures in before["by_document"]:
        del figures["broken"]
    found = held_to(measured(0.02), before, "b")
    assert found.verdict == "fail"
    assert "broken documents" not in {loss.figure for loss in found.ratchet.losses}


def test_the_sign_test_is_that_of_coins():
    assert sign_test(0, 0) == 1
    assert sign_test(5, 5) == 1 / 32
    assert sign_test(9, 10) == pytest.approx(11 / 1024)


def test_too_few_documents_in_common_are_told():
    before = earlier(measured(0.001))
    for figures in before["by_document"]:
        for key, values in figures.items():
            figures[key] = values if key == "scope" else values[:4]
    found = held_to(measured(0.02), before, "before.json")
    assert found.ratchet.paired == 4
    assert "before.json: too few documents in common to compare" in found.notes
    enough = held_to(measured(0.02), earlier(measured(0.02)), "before.json")
    assert not any("in common" in note for note in enough.notes)
