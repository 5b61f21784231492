"""edgepack.toml: what is written is read, and nothing else is."""

import tomllib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgepack import manifest
from edgepack.errors import DamagedInput, Missing
from edgepack.fidelity.gates import Verdict
from edgepack.fidelity.spans import SPANS
from edgepack.formats import Artifact, EncodingCount, FileRecord
from edgepack.manifest import Manifest, dumps, loads
from edgepack.manifest.manifest import (
    Bounds,
    FidelitySection,
    FitPart,
    FitSection,
    Measured,
    MemorySection,
    ModelSection,
    OverallFigures,
    SpanFigures,
    ToolchainSection,
    WeightBytes,
)
from edgepack.memory import CACHE_TYPES, CacheGroup, Deployment, Footprint, Speed

texts = st.text(max_size=12)
counts = st.integers(0, 2**63 - 1)
figures = st.floats(allow_nan=False, allow_infinity=False)
digests = st.text("0123456789abcdef", min_size=64, max_size=64).map("sha256:{}".format)
names = st.text("aZ9-_. é", min_size=1, max_size=8).filter(lambda name: name not in (".", ".."))
paths = st.lists(names, min_size=1, max_size=3).map("/".join)


def some(strategy):
    return st.none() | strategy


def several(strategy, least=0):
    return st.lists(strategy, min_size=least, max_size=2).map(tuple)


files = st.builds(FileRecord, paths, counts, digests)
bounds = st.builds(Bounds, some(figures), some(figures), some(figures))
artifacts = st.builds(
    Artifact,
    texts,
    texts,
    texts,
    several(files, 1),
    digests,
    several(st.builds(EncodingCount, texts, counts, counts)),
)
overall = st.builds(OverallFigures, *(bounds,) * 6)
spans = st.builds(SpanFigures, st.sampled_from(SPANS), counts, *(bounds,) * 3)
measured = st.builds(
    Measured,
    st.sampled_from(Verdict.__args__),
    several(texts),
    st.booleans(),
    *(texts,) * 4,
    counts,
    counts,
    some(overall),
    several(spans),
)
deployments = st.builds(
    Deployment,
    st.integers(1, 2**40),
    st.sampled_from(sorted(CACHE_TYPES)),
    st.sampled_from(sorted(CACHE_TYPES)),
    st.integers(1, 64),
    st.booleans(),
    program=st.sampled_from(["llama-cli", "llama-server"]),  # others serve one sequence
)
fits = st.builds(
    FitSection,
    paths,
    texts,
    texts,
    *(counts,) * 3,
    several(texts),
    deployments,
    st.builds(Footprint, *(counts,) * 6),
    *(some(st.builds(Speed, figures, figures, texts)),) * 2,
    several(st.builds(FitPart, texts, some(counts), counts, counts, counts)),
)
memories = st.builds(
    MemorySection,
    several(st.builds(WeightBytes, paths, counts)),
    several(st.builds(CacheGroup, counts, counts, counts, some(counts))),
)
sections = st.builds(
    FidelitySection, paths, several(digests), digests, digests, some(digests), files, measured
)
manifests = st.builds(
    Manifest,
    st.just("edgepack/1"),
    digests,
    st.builds(ModelSection, texts, some(texts), some(texts), texts, counts, counts, counts),
    several(files),
    several(artifacts, 1),
    memories,
    several(fits),
    several(sections),
    st.builds(ToolchainSection, *(texts,) * 5, several(texts)),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(manifests)
def test_what_is_written_is_read(described):
    assert loads(dumps(described), "edgepack.toml") == described


def test_the_header_tells_the_law_of_memory(package):
    text = package.label.read_text()
    assert "q8_0 34/32" in text
    assert "f16 2," in text


BROKEN = {
    "unknown key": ('licence = "mit"', 'license = "mit"', r"model\.license is not a known key"),
    "missing key": ("parameters = 40\n", "", r"model\.parameters is missing"),
    "string for a count": ("parameters = 40", 'parameters = "40"', r"a string, not an integer"),
    "true for a count": ("parameters = 40", "parameters = true", "true or false, not an integer"),
    "integer for a figure": ("low = 123.0", "low = 123", "an integer, not a float"),
    "date for a text": ('name = "tiny"', "name = 2026-01-01", "a date, not a string"),
    "table for a list": ("notes = [", "notes = {}\nx-notes = [", "a table, not an array"),
    "list for a table": ("[fit.decode]\nlow", "[[fit.decode]]\nlow", "an array, not a table"),
    "negative size": ("size = 7", "size = -7", r"source\[1\]\.size is negative"),
    "huge size": ("size = 7", f"size = {2**63}", r"source\[1\]\.size does not fit 64 bits"),
    "absurd size": ("size = 7", "size = " + "9" * 5000, "not TOML"),
    "not a number": ("low = 123.0", "low = nan", r"fit\[0\]\.decode\.low is nan"),
    "infinity": ("low = 123.0", "low = inf", r"fit\[0\]\.decode\.low is inf"),
    "unknown verdict": ('"pass"', '"passed"', r"'passed', not one of pass, fail"),
    "unknown span": ('"answer"', '"anser"', r"spans\[0\]\.scope is 'anser', not one of prompt"),
    "unknown cache type": (
        'k = "f16"',
        'k = "q9"',
        r"deployment unknown KV cache type .q9.",
    ),
    "no context": ("context = 1024", "context = 0", r"fit\[0\]\.deployment context is 0"),
    "not TOML": ("[model]", "[model", "not TOML"),
    "nested without end": ("[model]", "x-deep = " + "[" * 100_000 + "\n[model]", "not TOML"),
    "other program's": ("edgepack/1", "cargo/1", "must be 'edgepack/1'"),
    "newer": ("edgepack/1", "edgepack/2", "'edgepack/2'; this release reads 'edgepack/1'"),
    "schema is a number": ('"edgepack/1"', "1", "must be 'edgepack/1'"),
    "escape codes in a key": ("[model]\n", '[model]\n"\\u001B[2J" = 1\n', r"'model\.\\x1b\[2J' is"),
}


@pytest.mark.parametrize("old, new, message", BROKEN.values(), ids=BROKEN)
def test_a_broken_manifest_is_refused_by_file_and_key(package, old, new, message):
    package.edit(old, new)
    with pytest.raises(DamagedInput, match=message) as caught:
        manifest.read(package.folder)
    assert str(package.label) in caught.value.message
    assert caught.value.exit_code == 5
    assert caught.value.hint


@pytest.mark.parametrize(
    "digest",
    ["a" * 64, "sha256:" + "a" * 63, "sha256:" + "A" * 64, "sha256:" + "a" * 64 + "\\n", "md5:00"],
)
@pytest.mark.parametrize("key", ["sha256", "tensor_digest", "source_digest", "corpus_sha256"])
def test_a_digest_is_sha256_and_64_hex_digits(package, key, digest):
    text = package.label.read_text()
    place = text.index(f'{key} = "')
    end = text.index("\n", place)
    package.label.write_text(f'{text[:place]}{key} = "{digest}"{text[end:]}')
    with pytest.raises(DamagedInput, match=rf"{key} is .*, not sha256: and 64 hex digits"):
        manifest.read(package.folder)


@pytest.mark.parametrize(
    "path",
    [
        "", ".", "..", "../secret", "a/../../secret", "a/./b", "a//b", "a/", "/etc/passwd",
        "//host/a", "C:/secret", "c:secret", "a\\\\b", "..\\\\secret",
        "a\\u0000b", "a\\nb", "a\\u202Eb",
    ],
)  # fmt: skip
@pytest.mark.parametrize("old", ['path = "config.json"', 'path = "tiny-F32.gguf"', "artifact = "])
def test_a_path_stays_inside_the_folder(package, old, path):
    text = package.label.read_text()
    place = text.index(old)
    end = text.index("\n", place)
    package.label.write_text(f'{text[:place]}{old.split(" =")[0]} = "{path}"{text[end:]}')
    with pytest.raises(DamagedInput, match=r"an absolute path|not a plain path inside the folder"):
        manifest.read(package.folder)


def test_a_near_match_is_offered(package):
    package.edit('licence = "mit"', 'licenc = "mit"')
    with pytest.raises(DamagedInput) as caught:
        manifest.read(package.folder)
    assert caught.value.hint == "did you mean 'licence'?"


def test_a_newer_schema_asks_for_a_newer_release(package):
    package.edit("edgepack/1", "edgepack/12")
    with pytest.raises(DamagedInput) as caught:
        manifest.read(package.folder)
    assert "upgrade edgepack" in caught.value.hint


@pytest.mark.parametrize("section", ["", "[model]\n", "[fit.footprint]\n", "[[source]]\n"])
def test_extensions_are_tolerated_everywhere(package, section):
    before = manifest.read(package.folder)
    package.edit(section or "[model]", f"{section}x-vendor = 1\n" + ("" if section else "[model]"))
    assert tomllib.loads(package.label.read_text()) != {}
    assert manifest.read(package.folder) == before


def test_a_package_holds_an_artifact(package):
    text = package.label.read_text()
    start, end = text.index("[[artifacts]]"), text.index("[memory]")
    package.label.write_text("artifacts = []\n" + text[:start] + text[end:])
    with pytest.raises(DamagedInput, match="artifacts is empty"):
        manifest.read(package.folder)


def test_an_artifact_holds_a_file(package):
    text = package.label.read_text()
    start, end = text.index("[[artifacts.files]]"), text.index("[memory]")
    package.label.write_text(text[:start] + "files = []\n" + text[end:])
    with pytest.raises(DamagedInput, match=r"artifacts\[0\]\.files is empty"):
        manifest.read(package.folder)


def test_a_manifest_of_absurd_size_is_not_read(package):
    with package.label.open("r+b") as file:
        file.truncate(17 * 1024 * 1024)
    with pytest.raises(DamagedInput, match=r"17\.0 MiB, at most 16\.0 MiB are read"):
        manifest.read(package.folder)


def test_a_manifest_that_is_not_utf8_is_damaged(package):
    package.label.write_bytes(b"\xff" + package.label.read_bytes())
    with pytest.raises(DamagedInput, match="not UTF-8"):
        manifest.read(package.folder)


def test_no_folder_is_missing(tmp_path):
    with pytest.raises(Missing, match="no such folder"):
        manifest.read(tmp_path / "nowhere")
