"""Acceptance by hand, the vocabularies' rule, and pairs of real models."""

from __future__ import annotations

import numpy as np
import pytest

from edgepack import formats
from edgepack.errors import UsageError
from edgepack.fidelity import Document
from edgepack.fidelity.drafts import Gain, accepted, check_vocabularies, gain, pair_up
from edgepack.models import open_checkpoint
from edgepack.pipeline.validate import ValidateRequest, draft_reports, validate


def logs(*rows):
    return np.log(np.array(rows, np.float32))


def test_the_share_that_is_taken_is_the_overlap():
    draft = logs([0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [1, 1, 1])
    target = logs([0.5, 0.4, 0.1], [0.8, 0.1, 0.1], [1, 1, 1])
    shares, same = accepted(draft, target)
    np.testing.assert_allclose(shares, [0.8, 0.3], atol=1e-6)
    assert same.tolist() == [True, False]


def test_tokens_that_one_has_alone_are_never_agreed_on():
    shares, _ = accepted(logs([0.5, 0.25, 0.25], [1, 1, 1]), logs([0.5, 0.5], [1, 1]))
    np.testing.assert_allclose(shares, [0.75], atol=1e-6)


def test_only_what_a_model_writes_counts():
    document = Document("d", (0, 1, 0), ("prompt", "prompt", "answer"))
    draft, target = logs([1, 3], [1, 3], [1, 1]), logs([1, 3], [3, 1], [1, 1])
    found = pair_up(("a", "b"), lambda _: draft, lambda _: target, [document], cost=0.1)
    assert (found.tokens, found.alpha.value) == (1, pytest.approx(0.5))
    assert found.weights == gain(found.alpha.value, 0.1)
    prompts = [Document("d", (0, 1), ("prompt", "prompt"))]
    with pytest.raises(UsageError, match="no document has a reply"):
        pair_up(("a", "b"), lambda _: draft[:2], lambda _: target[:2], prompts)


def test_gains():
    """fixtures/scripts has the law's own tests; these are the facts' round figures."""
    best = gain(0.9, 0.1)
    assert best.times >= 2.93
    assert best.tokens_per_step == pytest.approx((1 - 0.9 ** (best.drafted + 1)) / 0.1)
    assert gain(0.01, 0.5) == Gain(0.5, 0, 1, 1.0)  # better to draft nothing


def test_the_vocabularies_rule():
    own = [f"t{n}" for n in range(300)]
    check_vocabularies("a", "b", own, own[:172])
    check_vocabularies("a", "b", ["x"] * 5 + own[5:], own)
    with pytest.raises(UsageError, match="a cannot draft for b: vocabularies of 300 and 171"):
        check_vocabularies("a", "b", own, own[:171])
    with pytest.raises(UsageError, match="token 5 is 'x' in the one and 't5' in the other"):
        check_vocabularies("a", "b", [*own[:5], "x", *own[6:]], own)


@pytest.fixture(scope="module")
def q4(written, reasoner, tmp_path_factory):
    folder, form = tmp_path_factory.mktemp("q4"), formats.named("gguf")
    source = open_checkpoint(str(reasoner))
    return written(form, source, form.schemes.scheme("Q4_K_M"), folder).entry(folder)


@pytest.fixture(scope="module")
def corpus(reasoner, tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "short.jsonl"
    path.write_text("\n".join((reasoner / "eval.jsonl").read_text().splitlines()[:8]) + "\n")
    return path


def test_a_models_own_q4_drafts_nearly_all(q4, reasoner, corpus):
    request = ValidateRequest((str(q4),), as_draft_for=str(reasoner), corpus=corpus)
    (found,) = draft_reports(request)
    assert 0.97 < found.alpha.value < 1
    assert found.greedy.value > 0.97
    assert found.documents == 8
    assert found.weights is not None
    assert 0.25 < found.weights.cost < 0.45  # of two bytes a weight
    (turned,) = draft_reports(
        ValidateRequest((str(reasoner),), as_draft_for=str(q4), corpus=corpus)
    )
    assert turned.alpha.value == pytest.approx(found.alpha.value, abs=1e-6)


def test_a_pair_beside_a_verdict(q4, reasoner, corpus):
    request = ValidateRequest((str(q4),), str(reasoner), corpus, as_draft_for=str(reasoner))
    (found,) = validate(request)
    assert found.draft is not None
    assert found.draft.alpha.value > 0.97
    assert found.to_dict()["draft"]["target"] == str(reasoner)


def test_another_vocabulary_is_refused_by_name(q4, golden, corpus):
    target = str(golden / "tiny-qwen2")
    with pytest.raises(UsageError, match=r"cannot draft for .*tiny-qwen2"):
        draft_reports(ValidateRequest((str(q4),), as_draft_for=target, corpus=corpus))


def test_two_artifacts_have_no_tokenizer_to_read_with(q4):
    with pytest.raises(UsageError, match="neither draft nor target is a checkpoint"):
        draft_reports(ValidateRequest((str(q4),), as_draft_for=str(q4)))
