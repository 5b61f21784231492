"""`edgepack validate` as a process: verdicts, exit codes, files, and the same bytes every time."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import numpy as np
import pytest

LINES = 12


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, run: Any, reasoner: Path) -> Path:
    """Artifacts of the trained model, named for their schemes."""
    folder = tmp_path_factory.mktemp("made")
    for scheme in ("F16", "Q8_0", "Q2_K"):
        out = folder / f"{scheme}.gguf"
        assert run("quantize", reasoner, "--scheme", scheme, "-o", out).code == 0
    return folder


@pytest.fixture(scope="module")
def dozen(tmp_path_factory: pytest.TempPathFactory, reasoner: Path) -> Path:
    """A small corpus."""
    path = tmp_path_factory.mktemp("corpus") / "dozen.jsonl"
    lines = (reasoner / "eval.jsonl").read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:LINES]))
    return path


def test_eight_bits_pass_as_near_lossless_and_every_form_says_so(run, made, reasoner, tmp_path):
    html, junit = tmp_path / "q8.html", tmp_path / "q8.xml"
    done = run("validate", made / "Q8_0.gguf", "--reference", reasoner, "--json",
               "--profile", "near-lossless", "--html", html, "--junit", junit)  # fmt: skip
    assert done.code == 0, done.out[-2000:]
    assert done.result["verdict"] == "pass"
    assert '<span class="verdict pass">pass</span>' in html.read_text()
    (suite,) = Xml.parse(junit).getroot()
    assert (suite.get("failures"), suite.get("errors")) == ("0", "0")
    assert int(suite.get("tests")) == len(done.result["gates"]) + 1


def test_two_bits_fail_and_say_where(run, made, reasoner):
    done = run("validate", made / "Q2_K.gguf", "--reference", reasoner, "--until-decided",
               "--profile", "near-lossless", "--json")  # fmt: skip
    assert done.code == 4
    assert done.result["verdict"] == "fail"
    assert done.result["looks"]["planned"] == [64, 128, 240]
    assert done.result["looks"]["taken"] == 1  # so plain a case needs no more
    assert done.error["code"] == "fidelity_failed"


def test_an_open_question_says_how_many_documents_would_close_it(run, made, reasoner, dozen):
    done = run("validate", made / "Q8_0.gguf", "--reference", reasoner, "--corpus", dozen)
    assert done.code == 7
    assert "more documents would decide" in done.out
    assert "measure on about " in done.err


def test_several_artifacts_are_held_to_an_earlier_run(run, made, reasoner, dozen, tmp_path):
    given = ("--reference", reasoner, "--corpus", dozen, "--json")
    first = run("validate", made / "F16.gguf", *given)
    again = run("validate", made / "F16.gguf", *given)
    assert first.out == again.out  # to the byte
    baseline = tmp_path / "before.json"
    baseline.write_text(first.out)
    done = run("validate", made / "F16.gguf", made / "Q2_K.gguf", *given, "--baseline", baseline)
    assert done.code == 4
    same, worse = done.result["reports"]
    assert same["verdict"] == first.result["verdict"]
    assert (worse["verdict"], worse["ratchet"]["paired"]) == ("fail", LINES)
    assert f"worse than {baseline}: all: mean KLD" in worse["reasons"][0]
    refused = run("validate", made / "F16.gguf", *given, "--baseline", baseline,
                  "--profile", "convert")  # fmt: skip
    assert refused.code == 2
    assert "its profile is 'balanced', not 'convert'" in refused.error["message"]


def test_another_model_is_an_invalid_measurement(run, reasoner, tmp_path, dozen):
    """The trained model's weights in another order."""
    other = tmp_path / "other"
    shutil.copytree(reasoner, other)
    weights = other / "model.safetensors"
    stored = weights.read_bytes()
    start = 8 + int.from_bytes(stored[:8], "little")
    values = np.frombuffer(stored[start:], np.uint16)
    weights.write_bytes(stored[:start] + np.random.default_rng(0).permutation(values).tobytes())
    out = tmp_path / "other.gguf"
    assert run("quantize", other, "--scheme", "F16", "-o", out).code == 0
    done = run("validate", out, "--reference", reasoner, "--corpus", dozen, "--json")
    assert done.code == 5
    assert done.error["code"] == "invalid_measurement"
    assert done.result["invalid"] is True


def test_the_self_test_trips_every_limit_without_an_artifact(run, reasoner):
    done = run("validate", "--self-test", "--reference", reasoner, "--json")
    assert done.code == 0, done.out
    trials = done.result["trials"]
    assert {trial["state"] for trial in trials} == {"trips"}
    assert len(trials) == 31


def test_a_self_test_of_too_few_documents_is_inconclusive(run, reasoner, tmp_path):
    path = tmp_path / "two.jsonl"
    lines = (reasoner / "eval.jsonl").read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:2]))
    done = run("validate", "--self-test", "--reference", reasoner, "--corpus", path)
    assert done.code == 7
    assert "could not be tried" in done.err


def test_a_profile_of_ones_own(run, made, reasoner, dozen, tmp_path):
    path = tmp_path / "ours.toml"
    path.write_text('base = "aggressive"\n[spans.prompt]\nkl_mean = 1e-6\n')
    done = run("validate", made / "Q8_0.gguf", "--reference", reasoner, "--corpus", dozen,
               "--profile", path, "--json")  # fmt: skip
    assert done.code == 4
    assert done.result["profile"] == "ours"
    assert done.result["reasons"][0].startswith("prompt: mean KLD")


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("none.gguf", "--profile", "none.toml"), 6, "none.toml does not exist"),
        (("none.gguf", "--profile", "balance"), 2, "did you mean 'balanced'?"),
        (("none.gguf", "--baseline", "none.json"), 6, "none.json does not exist"),
        (("none.gguf", "--baseline", "README.md"), 5, "README.md cannot be read"),
        (("none.gguf", "--baseline", "fixtures/reasoner/config.json"), 5, "no fidelity report"),
        ((), 2, "no artifact was named"),
        (("none.gguf", "--self-test"), 2, "--self-test was given with an artifact"),
        (("none.gguf", "--temperature", "0"), 2, "--temperature 0 is none"),
        (("none.gguf", "--temperature", "-1", "--until-decided"), 2, "--temperature -1 is none"),
        (("none.gguf", "--temperature", "nan", "--self-sample", "2"), 2, "--temperature nan"),
        *(
            (("--self-test", *ignored), 2, f"--self-test does not read {ignored[0]}")
            for ignored in (
                ("--junit", "a.xml"),
                ("--html", "a.html"),
                ("--baseline", "b.json"),
                ("--generate",),
                ("--until-decided",),
                ("--self-sample", "2"),
                ("--as-draft-for", "other"),
                ("--temperature", "0.5"),
                ("--loss-alpha", "0.2"),
                ("--window", "64"),
                ("--seed", "4"),
            )
        ),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_measured(run, reasoner, arguments, code, told):
    done = run("validate", *arguments, "--reference", reasoner)
    assert done.code == code
    assert told in done.err


def test_a_file_that_cannot_be_written_is_said(run, made, reasoner, dozen):
    done = run("validate", made / "F16.gguf", "--reference", reasoner, "--corpus", dozen,
               "--html", "README.md/page.html", "--json")  # fmt: skip
    assert done.code == 1
    assert json.loads(done.out)["error"]["code"] == "output"
