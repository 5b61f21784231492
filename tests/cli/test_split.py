"""A GGUF in several files, from the command to the verified package."""

import pytest


@pytest.fixture(scope="module")
def corpus(reasoner, tmp_path_factory):
    """Documents too few for a verdict: it is the way that is tested."""
    path = tmp_path_factory.mktemp("corpus") / "six.jsonl"
    lines = (reasoner / "eval.jsonl").read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:6]))
    return path


@pytest.fixture(scope="module")
def package(run, reasoner, corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("split") / "out"
    done = run("pack", reasoner, "--scheme", "Q4_K_M", "--split-max-size", "800K", "-o", out,
               "--corpus", corpus, "--allow-failed", "--json")  # fmt: skip
    assert done.code == 0, done.err
    return out, done.result


def test_a_package_names_all_files_and_is_whole(package, run, reasoner):
    out, result = package
    names = [f["path"] for f in result["artifacts"][0]["files"]]
    assert len(names) > 1
    assert names == sorted(path.name for path in out.glob("*.gguf"))
    assert run("verify", out, "--source", reasoner).code == 0


def test_validate_finds_the_first_file(package, run, reasoner, corpus):
    done = run("validate", package[0], "--reference", reasoner, "--corpus", corpus, "--json")
    assert done.code == 7, done.err  # inconclusive
    assert done.result["overall"]["kl_mean"]["value"] < 0.01


def test_a_damaged_later_file_is_noticed(package, run, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    for path in package[0].iterdir():
        (out / path.name).write_bytes(path.read_bytes())
    last = sorted(out.glob("*.gguf"))[-1]
    content = bytearray(last.read_bytes())
    content[-100] ^= 1
    last.write_bytes(content)
    assert run("verify", out).code == 5
    last.unlink()
    done = run("verify", out)
    assert done.code == 5
    assert f"{last.name} is missing" in done.err


def test_force_replaces_what_was_split(run, reasoner, tmp_path):
    arguments = ("quantize", reasoner, "--scheme", "Q4_K_M", "-o", tmp_path / "out", "--force")
    assert run(*arguments, "--split-max-size", "800K").code == 0
    assert len(list((tmp_path / "out").iterdir())) > 1
    done = run(*arguments)
    assert done.code == 0, done.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["reasoner-Q4_K_M.gguf"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--split-max-size", "1K", "-o", "OUT"), "the metadata alone has"),
        (("--split-max-size", "1M", "-o", "OUT.gguf"), "may make several"),
        (("--split-max-size", "much", "-o", "OUT"), "not a size"),
        (("--split-max-size", "1M", "--to", "mlx:4bit-g64", "-o", "OUT"), "was given for mlx"),
    ],
)
def test_what_is_refused(run, reasoner, tmp_path, arguments, said):
    given = [str(a).replace("OUT", str(tmp_path / "out")) for a in arguments]
    scheme = () if "--to" in given else ("--scheme", "Q4_K_M")
    done = run("quantize", reasoner, *scheme, *given)
    assert (done.code, said in done.err) == (2, True), done.err
    assert list(tmp_path.iterdir()) == []
