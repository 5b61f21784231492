"""validate, beyond distances: structure, replies and pairs as they are printed, and exit codes."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from edgepack import formats
from edgepack.cli.app import app
from edgepack.models import open_checkpoint


@pytest.fixture(scope="module")
def q8(written, reasoner, tmp_path_factory):
    folder, form = tmp_path_factory.mktemp("q8"), formats.named("gguf")
    source = open_checkpoint(str(reasoner))
    return str(written(form, source, form.schemes.scheme("Q8_0"), folder).entry(folder))


@pytest.fixture(scope="module")
def corpus(reasoner, tmp_path_factory):
    """Tool calls alone: their replies are short."""
    lines = (reasoner / "eval.jsonl").read_text().splitlines()
    path = tmp_path_factory.mktemp("corpus") / "calls.jsonl"
    path.write_text("\n".join([line for line in lines if "call sum" in line][:5]) + "\n")
    return str(path)


def run(*arguments):
    return CliRunner().invoke(app, ["validate", *arguments])


def test_everything_at_once_and_twice_the_same(q8, corpus, reasoner):
    asked = (q8, "--reference", str(reasoner), "--corpus", corpus, "--generate", "--self-sample",
             "2", "--as-draft-for", str(reasoner), "--seed", "3", "--json")  # fmt: skip
    first, second = run(*asked), run(*asked)
    assert first.stdout == second.stdout
    found = json.loads(first.stdout)["result"]
    assert found["documents"] == 2
    assert found["generation"]["prompts"] == 5
    assert found["generation"]["artifact"]["broken_calls"] == 0
    assert found["generation"]["reference"]["cut_off"] == 0
    assert found["draft"]["alpha"]["value"] > 0.99
    assert {check["ok"] for check in found["structure"]} == {True}


def test_a_pair_alone(q8, corpus, reasoner):
    result = run(q8, "--as-draft-for", str(reasoner), "--corpus", corpus)
    assert result.exit_code == 0
    assert f"{q8} drafting for {reasoner}" in result.stdout
    assert "speed-up" in result.stdout


def test_a_target_of_another_vocabulary(q8, golden):
    result = run(q8, "--as-draft-for", str(golden / "tiny-qwen2"))
    assert result.exit_code == 2


def test_without_a_reference_there_is_nothing_to_measure(q8):
    assert run(q8).exit_code == 2


@pytest.mark.parametrize(
    "ignored",
    [
        ("--profile", "convert"),
        ("--window", "64"),
        ("--junit", "a.xml"),
        ("--html", "a.html"),
        ("--baseline", "b.json"),
        ("--generate",),
        ("--until-decided",),
        ("--self-sample", "2"),
        ("--temperature", "0.5"),
        ("--loss-alpha", "0.2"),
    ],
)
def test_a_lone_pair_refuses_what_it_would_not_read(ignored):
    result = run("none.gguf", "--as-draft-for", "other.gguf", *ignored)
    assert result.exit_code == 2
    told = f"--as-draft-for without --reference does not read {ignored[0]}"
    assert told in " ".join(result.stderr.split())
