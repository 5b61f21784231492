"""Names that no file can have, wherever a command takes one."""

import pytest

LONG = "n" * 300  # most file systems take 255 bytes
REASONER = "fixtures/reasoner"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("fit", LONG), 2),
        (("fit", f"org/{LONG}"), 2),
        (("quantize", LONG, "--scheme", "F16", "-o", "out"), 2),
        (("quantize", REASONER, "--scheme", "F16", "-o", LONG), 2),
        (("quantize", REASONER, "--scheme", "F16", "-o", f"{LONG}.gguf"), 2),
        (("pack", REASONER, "-o", LONG), 2),
        (("pack", REASONER, "-o", f"{LONG}/out"), 2),
        (("pack", REASONER, "-o", "/tmp/" + "n" * 250), 2),  # room for itself, not for .partial
        (("validate", LONG, "--reference", REASONER), 2),
        (("validate", "README.md", "--reference", LONG), 2),
        (("pack", REASONER, "-o", "out", "--corpus", LONG), 5),
        (("verify", LONG), 2),
        (("manifest", "show", LONG), 2),
        (("fit", "~nobody-of-this-name/model"), 2),
    ],
    ids=lambda value: " ".join(word[:20] for word in value) if isinstance(value, tuple) else "",
)
def test_a_name_that_no_file_can_have(run, arguments, code):
    done = run(*arguments)
    assert done.code == code, done.err
    assert done.out == ""
    first, *hints = done.err.splitlines()
    assert first.startswith("edgepack: ")
    assert len(first) < 400
    assert len(hints) <= 1


def test_such_a_name_is_an_envelope_too(run):
    done = run("verify", LONG, "--json")
    assert done.code == 2
    assert done.error["code"] == "usage"
    assert "too long" in done.error["message"]


@pytest.mark.parametrize("size", ["9" * 400, "9" * 5000, "8388608T", "9223372036854775808"])
def test_more_memory_than_can_be_addressed(run, size):
    done = run("fit", REASONER, "--memory", size)
    assert done.code == 2, done.err
    assert "edgepack: " in done.err
    assert len(done.err) < 400


def test_the_largest_memory_is_taken(run):
    assert run("fit", REASONER, "--memory", "8388607T").code == 0


@pytest.mark.parametrize("option", ["--ctx", "--slots"])
def test_counts_beyond_any_runtime(run, option):
    done = run("fit", REASONER, option, "9" * 400)
    assert done.code == 2
    assert "Traceback" not in done.err
