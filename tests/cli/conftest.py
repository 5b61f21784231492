"""The real command, as a process: what a terminal or a pipeline sees."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
REASONER = REPOSITORY / "fixtures" / "reasoner"


@dataclass(frozen=True)
class Run:
    code: int
    out: str
    err: str

    @property
    def result(self) -> Any:
        return json.loads(self.out)["result"]

    @property
    def error(self) -> Any:
        return json.loads(self.out)["error"]


def edgepack(*arguments: object, **environment: str) -> Run:
    """Run `edgepack ARGUMENTS` from the repository; offline, so no test can reach a hub."""
    done = subprocess.run(
        [sys.executable, "-m", "edgepack", *map(str, arguments)],
        cwd=REPOSITORY,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "error", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return Run(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def run():
    return edgepack


@pytest.fixture(scope="session")
def few_documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 70 held-out documents: a full verdict's worth, in a fraction of the time."""
    path = tmp_path_factory.mktemp("corpus") / "few.jsonl"
    lines = (REASONER / "eval.jsonl").read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:70]))
    return path


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory, run: Any) -> Path:
    """What the README's first command makes."""
    out = tmp_path_factory.mktemp("package") / "out"
    done = run("pack", REASONER, "-o", out)
    assert done.code == 0, done.err
    return out
