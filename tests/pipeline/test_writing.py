"""What models write themselves: traces drawn from the reference, replies beside its own."""

from __future__ import annotations

import json

import pytest

from edgepack import formats
from edgepack.errors import UsageError
from edgepack.fidelity import FidelityReport, profile, runtimes
from edgepack.fidelity.checks import Check
from edgepack.fidelity.generation import compare
from edgepack.fidelity.replies import Reply, prompt_of
from edgepack.fidelity.runtimes import SpecialIds
from edgepack.models import open_checkpoint
from edgepack.pipeline import validate as verb
from edgepack.pipeline import writing
from edgepack.pipeline.findings import unrun, with_generation, with_structure
from edgepack.pipeline.validate import read_corpus
from edgepack.pipeline.writing import Replies, replies, self_sampled

SHORT = 24


@pytest.fixture(scope="module")
def trained(reasoner):
    return open_checkpoint(str(reasoner))


@pytest.fixture(scope="module")
def documents(trained):
    return read_corpus(trained, None).documents[:3]


def test_traces_begin_with_the_prompts_and_are_segmented(trained, documents):
    traces = self_sampled(trained, documents, 4, seed=1, limit=SHORT)
    assert [trace.name for trace in traces] == [
        f"self:{n} of {documents[(n - 1) % 3].name}" for n in (1, 2, 3, 4)
    ]
    for trace, source in zip(traces, [*documents, documents[0]], strict=True):
        prompt = prompt_of(source)
        assert trace.ids[: len(prompt)] == prompt
        assert set(trace.spans[: len(prompt)]) == {"prompt"}
        assert len(trace.spans) == len(trace.ids) > len(prompt)
        assert trace.spans[len(prompt)] == "control"  # the tag that it begins with
    assert "think" in traces[0].spans
    assert "tool_call" in traces[1].spans


def test_the_same_seed_the_same_traces(trained, documents):
    draw = {"limit": SHORT, "temperature": 4.0}
    first = self_sampled(trained, documents, 2, seed=1, **draw)
    assert first == self_sampled(trained, documents, 2, seed=1, **draw)
    assert first != self_sampled(trained, documents, 2, seed=2, **draw)
    with pytest.raises(UsageError, match="temperature 0"):
        self_sampled(trained, documents, 2, temperature=0.0)


def test_the_temperature_to_compare_at_draws_no_other_traces(trained, documents, monkeypatch):
    asked = []
    monkeypatch.setattr(verb, "self_sampled", lambda *given, **how: asked.append(how) or ())
    for temperature in (None, 4.0):
        request = verb.ValidateRequest(self_sample=2, temperature=temperature)
        verb._measured_on(trained, verb.Corpus(None, "", documents), request, verb.silent)
    assert asked[0] == asked[1]


def test_plain_text_goes_on_as_plain_text(trained, tmp_path):
    path = tmp_path / "text.jsonl"
    path.write_text(json.dumps({"text": "what is 993+2139+46845+81? " * 3}) + "\n")
    (source,) = read_corpus(trained, path).documents
    (trace,) = self_sampled(trained, [source], 1, limit=SHORT)
    kept = len(source.ids) // 4
    assert trace.ids[:kept] == source.ids[:kept]
    assert set(trace.spans) == {"text"}
    assert len(trace.ids) == len(trace.spans)


def test_an_exact_artifact_replies_as_the_reference_does(trained, documents, written, tmp_path):
    form = formats.named("gguf")
    entry = written(form, trained, form.schemes.scheme("F32"), tmp_path).entry(tmp_path)
    held = replies(trained, documents, prompts=2, limit=SHORT)
    assert held.names == tuple(document.name for document in documents[:2])
    with runtimes.open(entry, threads=1) as runtime:
        found = held.compare(runtime)
    assert (found.prompts, found.limit) == (2, SHORT)
    assert found.artifact.same_text == 2
    assert found.artifact == found.reference
    assert found.reference.cut_off == 2  # in the midst of a thought, and of a call
    assert (found.reference.unclosed, found.reference.broken_calls) == (1, 1)
    assert found.reasons == ()


class Counting:
    """A runtime that writes 3, 4, 5, ... to any prompt, as far as the first stop."""

    name = "counting"

    def __init__(self, special_ids):
        self.special_ids = special_ids

    def generate(self, ids, limit, stop_ids):
        written = list(range(3, 3 + limit))
        ends = [at for at, token in enumerate(written) if token in stop_ids]
        return written[: ends[0] + 1] if ends else written


@pytest.mark.parametrize(
    ("special", "length"),
    [
        (SpecialIds(None, 2, None, frozenset({2, 6})), 4),  # where the artifact stops
        (SpecialIds(None, 2, None), SHORT),  # where the checkpoint does
        (None, SHORT),
    ],
)
def test_an_artifact_stops_where_it_says_itself(trained, documents, monkeypatch, special, length):
    prompt = prompt_of(documents[0])
    held = Replies(trained, ("d",), (prompt,), SHORT, (), (), ())
    monkeypatch.setattr(writing.generation, "compare", lambda names, own, gaps, made, *rest: made)
    (found,) = held.compare(Counting(special))
    assert len(found.tokens) == length
    assert found.stopped is (length < SHORT)


PASSED = FidelityReport("pass", (), notes=("short",))
OPEN = FidelityReport("inconclusive", ("all: mean KLD",))
FAILED = FidelityReport("fail", ("all: mean KLD",))


def replied(faults):
    good = Reply((1,), True, "", "7", (), False)
    bad = Reply((2,), True, "", "", (), True)
    made = [bad] * faults + [good] * (8 - faults)
    return compare(["d"] * 8, [good] * 8, [(1.0,)] * 8, made, [good] * 8, 64)


@pytest.mark.parametrize("report", [PASSED, OPEN, FAILED])
def test_replies_without_fault_leave_a_verdict_as_it_is(report):
    found = with_generation(report, replied(0))
    assert (found.verdict, found.reasons) == (report.verdict, report.reasons)
    assert found.generation is not None


@pytest.mark.parametrize(("report", "kept"), [(PASSED, 0), (OPEN, 0), (FAILED, 1)])
def test_faults_in_replies_fail_and_what_was_undecided_is_no_reason(report, kept):
    found = with_generation(report, replied(6))
    assert found.verdict == "fail"
    assert len(found.reasons) == kept + 2
    assert found.reasons[kept].startswith("generation: thinking is not closed: 6 of 8")
    assert json.loads(json.dumps(found.to_dict()))["generation"]["artifact"]["unclosed"] == 6


def test_checks_in_a_report():
    checks = (Check("a", True, "x"), Check("b", None, "not compared"), Check("c", False, "bad"))
    found = with_structure(PASSED, checks)
    assert (found.structure, found.notes) == (checks, ("short", "b: not compared"))
    assert unrun(checks, profile(), "m").reasons == ("c: bad",)
