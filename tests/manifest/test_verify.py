"""A package that was tampered with is found out, whatever was changed."""

import hashlib
import os

import pytest

from edgepack import manifest
from edgepack.errors import DamagedInput

MODEL = "tiny-F32.gguf"
OTHER = "sha256:" + "0" * 64


def refused(package, source=None) -> str:
    """The message that `verify` refuses the package with."""
    with pytest.raises(DamagedInput) as caught:
        manifest.verify(package.folder, source)
    assert caught.value.exit_code == 5
    assert caught.value.hint
    return caught.value.message


def flip(path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)


def sha256(path) -> str:
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_whole_package_is_verified(package):
    found = manifest.verify(package.folder, package.checkpoint)
    assert found.manifest == manifest.read(package.folder)
    assert found.checks == (
        "2 files have the recorded size and sha256, and there are no others",
        f"{MODEL}: 2 tensors have the recorded types and digest",
        f"fidelity.json: verdict pass, bound to {MODEL}",
        "2 source records have the digest the measurement names",
        f"{package.checkpoint.root}: 2 source files have the recorded size and sha256",
        f"{package.checkpoint.root}: the model and its memory law are as recorded",
    )


@pytest.mark.parametrize("offset", [0, 30, -1])
def test_one_flipped_bit_of_the_artifact(package, offset):
    recorded = sha256(package.folder / MODEL)
    flip(package.folder / MODEL, offset)
    now = sha256(package.folder / MODEL)
    assert f"{MODEL} has {now}, recorded {recorded}" in refused(package)


def test_one_flipped_bit_of_the_report(package):
    flip(package.folder / "fidelity.json", 40)
    assert "fidelity.json has sha256:" in refused(package)


def test_a_verdict_changed_in_the_manifest_alone(package):
    package.edit('verdict = "pass"', 'verdict = "fail"')
    message = "fidelity.json has verdict 'pass', edgepack.toml says 'fail'"
    assert message in refused(package)


def test_a_figure_changed_in_the_manifest_alone(package):
    package.edit("value = 0.99\n", "value = 0.999\n")
    assert "fidelity.json has overall" in refused(package)


def test_a_report_replaced_with_its_digest_but_not_its_figures(package):
    path, record = (
        package.folder / "fidelity.json",
        manifest.read(package.folder).fidelity[0].report,
    )
    path.write_text(path.read_text().replace('"pass"', '"fail"'))
    package.edit(record.sha256, sha256(path))
    assert "fidelity.json has verdict 'fail', edgepack.toml says 'pass'" in refused(package)


@pytest.mark.parametrize("content", ["", "[" * 100_000, '{"verdict": 1}', "[]", "\N{SNOWMAN}"])
def test_a_report_that_is_none(package, content):
    path, record = (
        package.folder / "fidelity.json",
        manifest.read(package.folder).fidelity[0].report,
    )
    path.write_text(content, encoding="utf-8")
    package.edit(f"size = {record.size}", f"size = {path.stat().st_size}")
    package.edit(record.sha256, sha256(path))
    assert str(path) in refused(package)


def test_a_recorded_sha256_of_the_artifact(package):
    package.edit(sha256(package.folder / MODEL), OTHER)
    message = refused(package)
    assert f"recorded {OTHER}" in message
    assert "bound to other files" in message


def test_tensors_other_than_those_measured(package):
    digest = manifest.read(package.folder).artifacts[0].tensor_digest
    package.edit(digest, OTHER)
    message = refused(package)
    assert f"{MODEL} has tensor_digest {digest!r}, recorded {OTHER!r}" in message
    assert f"bound to other tensors: {digest}" in message


def test_a_measurement_of_other_tensors(package):
    text = package.label.read_text()
    place = text.rindex('tensor_digest = "')  # the artifact's own comes first
    end = text.index("\n", place)
    package.label.write_text(f'{text[:place]}tensor_digest = "{OTHER}"{text[end:]}')
    message = refused(package)
    assert message.endswith(f"bound to other tensors: {OTHER}")
    assert len(message.splitlines()) == 2


@pytest.mark.parametrize(
    "old, new",
    [
        ("size = 7", "size = 8"),
        ('path = "model.safetensors"', 'path = "other.safetensors"'),
        ('source_digest = "sha256:', f'source_digest = "{OTHER}"\nx-was = "'),
    ],
)
def test_source_records_other_than_those_measured(package, old, new):
    package.edit(old, new)
    assert "bound to another source" in refused(package)


@pytest.mark.parametrize(
    "old, new, message",
    [
        ('encoding = "F32", tensors = 2', 'encoding = "F32", tensors = 3', "has histogram"),
        ('format = "gguf"\nscheme = "F32"', 'format = "gguf"\nscheme = "F16"', "has scheme 'F32'"),
        ('format = "gguf"', 'format = "ggml"', "unknown format 'ggml'"),
        ("kv = 262144", "kv = 262143", "its footprint adds up to 265319"),
        ("headroom = 734680", "headroom = 734681", "has headroom 734681"),
        ("budget = 1000000", "budget = 2000000", "its parts leave 1734680"),
        ('gguf", size = 160', 'gguf", size = 161', "memory.weights are"),
        ('artifact = "tiny-F32', 'artifact = "tiny-F16', "has 0 fit sections, one is"),
        ('artifact = "tiny-F32', 'artifact = "tiny-F16', "bound to no artifact"),
        ('scheme = "F32"\narchitecture = "llama"', 'scheme = "F32"\narchitecture = "qwen2"',
         "has architecture 'llama', recorded 'qwen2'"),
    ],
)  # fmt: skip
def test_a_manifest_that_contradicts_the_artifact_or_itself(package, old, new, message):
    package.edit(old, new)
    assert message in refused(package)


@pytest.mark.parametrize(
    "old, new",
    [
        ('licence = "mit"', 'licence = "apache-2.0"'),
        ("parameters = 40", "parameters = 41"),
        ("context_length = 2048", "context_length = 4096"),
        ("vocabulary = 4", "vocabulary = 5"),
        ('device = "test device"', 'device = "other device"'),
        ("longest_context = 2048", "longest_context = 2047"),
        (f'corpus_sha256 = "sha256:{"c" * 64}"', f'corpus_sha256 = "sha256:{"d" * 64}"'),
        ('edgepack = "', 'edgepack = "9'),
    ],
)
def test_an_edit_that_nothing_else_contradicts(package, old, new):
    package.edit(old, new)
    assert "edgepack.toml was edited: its text has sha256:" in refused(package)


def test_a_law_of_memory_that_the_fit_does_not_follow(package):
    package.edit("k_elements = 32", "k_elements = 16")
    assert "the law in memory.cache gives 196608" in refused(package)


def test_keys_of_other_tools_are_no_edit(package):
    package.edit('licence = "mit"', 'licence = "mit"\nx-reviewed-by = "me"')
    assert manifest.verify(package.folder)


@pytest.mark.parametrize(
    "old, new, message",
    [
        ('licence = "mit"', 'licence = "gpl"', "has licence 'mit', edgepack.toml says 'gpl'"),
        ("parameters = 40", "parameters = 41", "has parameters 40, edgepack.toml says 41"),
    ],
)
def test_what_the_source_contradicts(package, old, new, message):
    package.edit(old, new)
    assert message in refused(package, package.checkpoint)


def test_a_package_that_was_not_measured(package):
    text = package.label.read_text()
    start, end = text.index("[[fidelity]]"), text.index("[toolchain]")
    package.label.write_text("fidelity = []\n" + text[:start] + text[end:])
    (package.folder / "fidelity.json").unlink()
    assert f"{MODEL} has 0 fidelity sections, one is required" in refused(package)


def test_a_file_recorded_twice(package):
    text = package.label.read_text()
    start, end = text.index("[[artifacts.files]]"), text.index("[memory]")
    package.label.write_text(text[:end] + text[start:end] + text[end:])
    assert f"{MODEL} is recorded 2 times" in refused(package)


@pytest.mark.parametrize("name", ["README.md", "lib/evil.so", ".hidden", "two\nlines"])
def test_an_extra_file(package, name):
    path = package.folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"")
    assert f"{name!r} is in the folder and not in the manifest" in refused(package)


def test_a_signature_is_not_an_extra_file(package):
    (package.folder / "model.sig").write_bytes(b"signed")
    assert manifest.verify(package.folder)


@pytest.mark.parametrize("name", [MODEL, "fidelity.json"])
def test_a_missing_file(package, name):
    (package.folder / name).unlink()
    assert f"{name} is missing" in refused(package)


@pytest.mark.parametrize("name", [MODEL, "fidelity.json"])
def test_a_file_cut_short(package, name):
    size = (package.folder / name).stat().st_size
    os.truncate(package.folder / name, size - 1)
    assert f"{name} has {size - 1} bytes, recorded {size}" in refused(package)


def test_all_differences_are_told_at_once(package):
    (package.folder / MODEL).unlink()
    flip(package.folder / "fidelity.json", 40)
    (package.folder / "extra").touch()
    message = refused(package)
    assert message.startswith(f"{package.folder}: 3 differences from its edgepack.toml:\n")
    assert len(message.splitlines()) == 4


def test_a_long_list_of_differences_is_cut(package):
    for index in range(50):
        (package.folder / f"{index}.txt").touch()
    assert refused(package).endswith("\n  and 30 more")


@pytest.mark.parametrize("name", [MODEL, "fidelity.json"])
def test_a_symbolic_link_to_the_same_bytes(package, tmp_path, name):
    (package.folder / name).rename(tmp_path / "elsewhere")
    (package.folder / name).symlink_to(tmp_path / "elsewhere")
    assert f"{name} is reached through a symbolic link" in refused(package)


def test_a_symbolic_link_on_the_way(package, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (package.folder / "fidelity.json").rename(elsewhere / "fidelity.json")
    (package.folder / "sub").symlink_to(elsewhere)
    package.edit('path = "fidelity.json"', 'path = "sub/fidelity.json"')
    message = refused(package)
    assert "sub/fidelity.json is reached through a symbolic link" in message
    assert "'sub' is in the folder and not in the manifest" in message


def test_a_linked_manifest(package, tmp_path):
    package.label.rename(tmp_path / "elsewhere.toml")
    package.label.symlink_to(tmp_path / "elsewhere.toml")
    assert "not a finished package" in refused(package)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_does_not_hang(package):
    (package.folder / MODEL).unlink()
    os.mkfifo(package.folder / MODEL)
    assert f"{MODEL} is not a regular file" in refused(package)


def test_a_folder_in_place_of_a_file(package):
    (package.folder / MODEL).unlink()
    (package.folder / MODEL).mkdir()
    assert f"{MODEL} is not a regular file" in refused(package)


def test_a_name_too_long_for_the_system(package):
    package.edit('path = "fidelity.json"', f'path = "{"a" * 300}"')
    assert "cannot be read: File name too long" in refused(package)


def test_an_unfinished_package(package):
    package.label.unlink()
    assert "not a finished package: there is no edgepack.toml in it" in refused(package)


def test_a_source_that_changed(package):
    root = package.checkpoint.root
    (root / "model.safetensors").write_bytes(b"Weights")
    (root / "config.json").unlink()
    message = refused(package, package.checkpoint)
    assert f"{root / 'model.safetensors'} has sha256:" in message
    assert f"{root / 'config.json'} is missing" in message


def test_a_source_may_be_links_into_a_cache(package, tmp_path):
    path = package.checkpoint.root / "model.safetensors"
    path.rename(tmp_path / "blob")
    path.symlink_to(tmp_path / "blob")
    assert manifest.verify(package.folder, package.checkpoint)


def test_a_folder_that_cannot_be_listed_hides_nothing(package, monkeypatch):
    closed, listed = package.folder / "closed", os.scandir
    closed.mkdir()

    def scandir(path):
        if os.fspath(path) == str(closed):
            raise PermissionError(13, "Permission denied", str(closed))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert f"{closed}: cannot be read: Permission denied" in refused(package)
