"""What the manifest says of the nouns it is made from."""

import hashlib
import tomllib
from dataclasses import replace

import pytest

from edgepack import manifest
from edgepack.errors import DamagedInput, OutputError
from edgepack.fidelity import FidelityReport

MODEL = "tiny-F32.gguf"


@pytest.fixture
def label(package):
    return tomllib.loads(package.label.read_text())


def test_source_files_are_listed_relative_to_the_checkpoint(label):
    assert label["source"] == [
        {"path": name, "size": len(content), "sha256": f"sha256:{sha256(content)}"}
        for name, content in (("config.json", b"{}"), ("model.safetensors", b"weights"))
    ]


def test_the_law_gives_the_footprint_of_a_context(label):
    # 2 layers x 1024 tokens x (2 heads x 16 elements) x (K and V of 2 bytes)
    (group,) = label["memory"]["cache"]
    assert group == {"layers": 2, "k_elements": 32, "v_elements": 32}
    assert label["fit"][0]["footprint"]["kv"] == 2 * 1024 * 32 * 4


def test_weights_are_counted_from_the_artifact(label):
    assert label["memory"]["weights"] == [{"path": MODEL, "size": 4 * (32 + 8)}]


def test_fit_adds_up(label):
    (fit,) = label["fit"]
    assert fit["total"] == sum(fit["footprint"].values())
    assert fit["headroom"] == fit["parts"][0]["budget"] - fit["parts"][0]["bytes"]
    assert fit["decode"]["low"] == 123.0  # of 123.4567: an estimate, to three digits


def test_fidelity_is_bound_to_file_tensors_and_source(label, package):
    (section,) = label["fidelity"]
    assert section["sha256"] == [f"sha256:{sha256((package.folder / MODEL).read_bytes())}"]
    assert section["tensor_digest"] == label["artifacts"][0]["tensor_digest"]
    lines = "".join(f"{f['sha256']} {f['size']} {f['path']}\n" for f in label["source"])
    assert section["source_digest"] == f"sha256:{sha256(lines.encode())}"


def test_figures_are_those_of_the_report_file(label, package):
    measured, report = label["fidelity"][0]["measured"], package.report()
    assert measured["verdict"] == report["verdict"] == "pass"
    assert measured["overall"]["kl_mean"] == report["overall"]["kl_mean"]
    assert [s["scope"] for s in measured["spans"]] == ["answer", "tool_call"]
    assert "lower" not in measured["overall"]["hard_flips"]  # a bound the sample cannot give


def test_a_measurement_that_did_not_run_is_described(package):
    report = FidelityReport.not_run("no runtime")
    described = package.described(report=report, corpus_sha256=None)
    manifest.write(described, package.folder)
    assert manifest.verify(package.folder).manifest == described
    assert described.fidelity[0].measured.reasons == ("no runtime",)


def test_figures_of_outputs_are_described_and_verified(package, output_report):
    exporter = "optimum-onnx 0.1.0"
    described = package.described(report=output_report, exporter=exporter)
    manifest.write(described, package.folder)
    read = manifest.verify(package.folder).manifest
    assert read == described
    assert read.toolchain.exporter == exporter
    figures = read.fidelity[0].measured.outputs
    assert (figures.kind, figures.rows, figures.top1) == ("embeddings", 64, None)
    assert figures.distance.upper == 0.0076


def test_figures_of_outputs_that_differ_are_found(package, output_report):
    manifest.write(package.described(report=output_report), package.folder)
    package.edit("value = 0.007", "value = 0.001")
    with pytest.raises(DamagedInput, match="has outputs"):
        manifest.verify(package.folder)


def test_the_toolchain_says_how(label):
    toolchain = label["toolchain"]
    assert toolchain["argv"] == ["edgepack", "pack", "tiny"]
    assert toolchain["numpy"] == __import__("numpy").__version__


def test_an_argument_that_is_no_utf8_is_written_all_the_same(package):
    manifest.write(package.described(argv=("caf\udce9",)), package.folder)
    assert manifest.read(package.folder).toolchain.argv == ("caf\\udce9",)


def test_equal_inputs_give_equal_bytes(package):
    first = package.label.read_bytes(), (package.folder / "fidelity.json").read_bytes()
    manifest.write(package.described(), package.folder)
    assert first == (package.label.read_bytes(), (package.folder / "fidelity.json").read_bytes())


def test_the_report_ends_in_a_line_end_and_is_described_as_it_lies_on_disk(report, tmp_path):
    record = manifest.write_report(report, tmp_path, tmp_path)
    content = (tmp_path / "fidelity.json").read_bytes()
    assert content.endswith(b"}\n")
    assert (record.path, record.size) == ("fidelity.json", len(content))
    assert record.sha256 == f"sha256:{sha256(content)}"


def test_nothing_but_the_two_files_is_left_behind(package):
    assert sorted(p.name for p in package.folder.iterdir()) == [
        "edgepack.toml", "fidelity.json", MODEL,
    ]  # fmt: skip


def test_a_folder_that_is_not_there_is_an_output_error(package, tmp_path):
    described = manifest.read(package.folder)
    with pytest.raises(OutputError, match="cannot be written"):
        manifest.write(described, tmp_path / "nowhere")


def test_a_manifest_that_could_not_be_read_back_is_not_written(package, tmp_path):
    described = manifest.read(package.folder)
    broken = replace(described, fit=(replace(described.fit[0], total=-1),))
    with pytest.raises(DamagedInput, match=r"fit\[0\]\.total is negative"):
        manifest.write(broken, tmp_path)
    assert not (tmp_path / "edgepack.toml").exists()


def test_a_fit_without_a_known_bandwidth_has_no_decode_speed(package, fit):
    described = package.described(fits=(replace(fit, decode=None),))
    assert "decode" not in tomllib.loads(manifest.dumps(described))["fit"][0]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
