"""completions/ holds what the command itself prints."""

from pathlib import Path

import pytest

COMPLETIONS = Path(__file__).parents[2] / "completions"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_committed_script_is_the_commands_own(run, shell):
    printed = run(_EDGEPACK_COMPLETE=f"source_{shell}")
    assert printed.out == (COMPLETIONS / f"edgepack.{shell}").read_text(), (
        f"_EDGEPACK_COMPLETE=source_{shell} edgepack > completions/edgepack.{shell}"
    )


def test_the_script_completes_commands(run):
    found = run(_EDGEPACK_COMPLETE="complete_bash", COMP_WORDS="edgepack va", COMP_CWORD="1")
    assert found.out.split() == ["validate"]
