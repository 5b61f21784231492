"""Nothing is lost or half written, whatever happens inside."""

import os
from pathlib import Path

import pytest

from edgepack.errors import FidelityFailed, OutputError
from edgepack.formats.gguf.header import header
from edgepack.pipeline import staging
from edgepack.pipeline.staging import check_space, staged


def write_package(folder, text="new"):
    (folder / "edgepack.toml").write_text(text)


def test_the_result_appears_whole_and_at_once(tmp_path):
    out = tmp_path / "deep" / "out"
    with staged(out) as folder:
        write_package(folder)
        assert not out.exists()
    assert (out / "edgepack.toml").read_text() == "new"
    assert list(out.parent.iterdir()) == [out]


def test_one_file_is_published_as_a_file(tmp_path):
    with staged(tmp_path / "model.gguf") as folder:
        (folder / "name.gguf").write_bytes(b"GGUF")
    assert (tmp_path / "model.gguf").read_bytes() == b"GGUF"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OutputError("full")])
def test_an_error_leaves_nothing(tmp_path, error):
    with pytest.raises((ValueError, KeyboardInterrupt, OutputError)), staged(tmp_path / "out") as f:
        write_package(f)
        raise error
    assert list(tmp_path.iterdir()) == []


def test_a_failed_verdict_leaves_the_folder_to_look_at(tmp_path):
    with pytest.raises(FidelityFailed), staged(tmp_path / "out") as folder:
        (folder / "fidelity.json").write_text("{}")
        raise FidelityFailed("too far")
    assert [path.name for path in tmp_path.iterdir()] == ["out.partial"]


def test_an_earlier_package_survives_an_error(tmp_path):
    out = tmp_path / "out"
    with staged(out) as folder:
        write_package(folder, "old")
    with pytest.raises(ValueError), staged(out, force=True) as folder:
        write_package(folder, "new")
        raise ValueError
    assert (out / "edgepack.toml").read_text() == "old"


def test_force_replaces_an_earlier_package(tmp_path):
    out = tmp_path / "out"
    for text in ("old", "new"):
        with staged(out, force=True) as folder:
            write_package(folder, text)
    assert (out / "edgepack.toml").read_text() == "new"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("force", [False, True])
def test_what_edgepack_did_not_write_is_never_replaced(tmp_path, force):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("years")
    with pytest.raises(OutputError), staged(out, force=force):
        pytest.fail("entered")
    assert (out / "thesis.txt").read_text() == "years"


def test_a_link_is_never_replaced(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "real")
    with pytest.raises(OutputError), staged(tmp_path / "out", force=True):
        pytest.fail("entered")


def test_leftovers_of_an_interrupted_run_are_cleared(tmp_path):
    left = tmp_path / "out.partial"
    (left / "gguf").mkdir(parents=True)
    for name in ("fidelity.json", ".edgepack.toml.partial"):
        (left / name).write_bytes(b"half")
    (left / "gguf" / "opened.gguf").touch()
    head = header("none", {"general.quantized_by": "edgepack 0.1.0"}, ())
    (left / "gguf" / "half.gguf").write_bytes(head)
    with staged(tmp_path / "out") as folder:
        assert list(folder.iterdir()) == []
        write_package(folder)


def test_two_runs_at_once_are_refused(tmp_path):
    with staged(tmp_path / "out") as folder:
        write_package(folder)
        with pytest.raises(OutputError, match="another run"), staged(tmp_path / "out"):
            pytest.fail("entered")
    assert (tmp_path / "out" / "edgepack.toml").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_read_only_place_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="cannot be made"), staged(tmp_path / "out"):
        pytest.fail("entered")


def test_a_file_where_a_folder_is_needed_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"), staged(tmp_path / "file" / "out"):
        pytest.fail("entered")


def test_too_little_space_says_found_and_needed(tmp_path):
    with pytest.raises(OutputError, match=r"free, 1024\.0 TiB needed|needed"):
        check_space(tmp_path / "out", 2**50)


def test_space_is_asked_of_the_nearest_folder_that_exists(tmp_path, monkeypatch):
    asked = []
    usage = staging.shutil.disk_usage
    monkeypatch.setattr(staging.shutil, "disk_usage", lambda p: asked.append(p) or usage(p))
    check_space(tmp_path / "a" / "b" / "out", 1)
    assert asked == [tmp_path]


@pytest.mark.parametrize("name", ["out", "out.partial"])
def test_files_of_somebody_else_are_never_removed(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    write_package(folder)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="somebody else"), staged(tmp_path / "out", force=True):
        pytest.fail("entered")
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_partial_folder_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "model.gguf").write_text("mine")
    (tmp_path / "out.partial").symlink_to(tmp_path / "precious")
    with pytest.raises(OutputError, match="symbolic link"), staged(tmp_path / "out"):
        pytest.fail("entered")
    assert (tmp_path / "precious" / "model.gguf").exists()


def test_stopped_between_the_renames_the_earlier_package_comes_back(tmp_path, monkeypatch):
    out = tmp_path / "out"
    with staged(out) as folder:
        write_package(folder, "old")
    rename = Path.rename

    def stop(path, target):
        if path.name == "out.partial":
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", stop)
    with pytest.raises(KeyboardInterrupt), staged(out, force=True) as folder:
        write_package(folder, "new")
    assert (out / "edgepack.toml").read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]


def test_what_a_killed_swap_left_behind_is_cleared(tmp_path):
    out = tmp_path / "out"
    for folder in (out, tmp_path / "out.replaced"):
        folder.mkdir()
        write_package(folder, "old")
    with staged(out, force=True) as folder:
        write_package(folder)
    assert (out / "edgepack.toml").read_text() == "new"
    assert list(tmp_path.iterdir()) == [out]


def test_what_a_killed_exporter_left_is_removed(tmp_path):
    left = tmp_path / "out.partial" / ".edgepack-export-k3x9"
    left.mkdir(parents=True)
    (left / "model.onnx").write_bytes(b"half of a graph")
    with staged(tmp_path / "out") as folder:
        assert list(folder.iterdir()) == []
