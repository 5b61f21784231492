"""A small package, made from a checkpoint of nonsense weights and a measurement made by hand."""

import json
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFWriter

from edgepack import formats, manifest
from edgepack.fidelity import FidelityReport
from edgepack.fidelity.bootstrap import Interval
from edgepack.fidelity.metrics import Metrics
from edgepack.fidelity.outputs.metrics import OutputMetrics
from edgepack.formats import Artifact
from edgepack.hardware import Cpu, Figure, Hardware, Place
from edgepack.manifest import Manifest, Measurement
from edgepack.memory import Deployment, Fit, Footprint, Part, Placement, Speed
from edgepack.models import Checkpoint, Decoder, Weight
from edgepack.models.decoder import Attention, FeedForward, GgufNaming, Layer, Rope

MODEL = "tiny-F32.gguf"
UNKNOWN = Figure(None, "unknown")


def write_gguf(path: Path) -> Path:
    """Two tensors of float32, 32 + 8 elements: 160 bytes."""
    writer = GGUFWriter(path, "llama")
    writer.add_file_type(0)
    writer.add_tensor("token_embd.weight", np.arange(32, dtype=np.float32).reshape(4, 8))
    writer.add_tensor("output_norm.weight", np.ones(8, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def make_checkpoint(root: Path) -> Checkpoint:
    """A folder that looks like a checkpoint, and two layers that share one shape."""
    root.mkdir()
    (root / "config.json").write_text("{}")
    (root / "model.safetensors").write_bytes(b"weights")
    (root / "README.md").write_text("---\nlicense: mit\n---\n")
    layer = Layer(Attention(4, 2, 16, Rope(10_000.0, 16)), FeedForward(64))
    decoder = Decoder(
        vocabulary=4,
        width=8,
        context_length=2048,
        layers=(layer, layer),
        norm_epsilon=1e-6,
        tied_embeddings=True,
        weights=(
            Weight("token_embd.weight", None, (4, 8), "embed"),
            Weight("output_norm.weight", None, (8,), "norm"),
        ),
        gguf=GgufNaming("llama"),
    )
    return Checkpoint(
        root=root,
        name="tiny",
        revision=None,
        shards=(root / "model.safetensors",),
        tensors={},
        decoder=decoder,
        skipped=(),
    )


def metrics(scope: str) -> Metrics:
    mean = Interval(0.0012345678, 0.001, 0.002)
    return Metrics(
        scope=scope,
        documents=64,
        tokens=40_000,
        kl_mean=mean,
        kl_p99=Interval(0.02, 0.01, 0.03),
        kl_p999=Interval(0.2, 0.1, inf),
        top1=Interval(0.99, 0.98, 0.995),
        hard_flips=Interval(0.0, -inf, 0.0001),
        broken_documents=Interval(0.0, -inf, 0.04),
        ln_ppl_ratio=mean,
        kl_p50=0.0,
        kl_p90=0.0,
        kl_max=0.3,
        reverse_kl_mean=0.001,
        alpha=0.99,
        hard_flip_count=0,
    )


def make_report() -> FidelityReport:
    return FidelityReport(
        "pass",
        (),
        powered=True,
        profile="balanced",
        reference="tiny",
        runtime="llama.cpp",
        runtime_version="b11549",
        documents=64,
        tokens=40_000,
        overall=metrics("all"),
        spans=(metrics("answer"), metrics("tool_call")),
    )


def make_output_report() -> FidelityReport:
    """Of a model whose outputs are no next tokens."""
    figures = OutputMetrics(
        kind="embeddings",
        documents=64,
        rows=64,
        distance=Interval(0.007, 0.0065, 0.0076),
        difference=Interval(0.036, 0.033, 0.042),
        top1=None,
        broken_documents=Interval(0.0, 0.0, 0.0457),
        distance_max=0.0168,
        difference_max=0.12,
    )
    return replace(make_report(), overall=None, spans=(), outputs=figures)


PLACE = Place("CPU", Figure(1_000_000, "profile"), Figure(None, "unknown"))


def make_fit() -> Fit:
    return Fit(
        scheme="F32",
        bits=32,
        context=1024,
        footprint=Footprint(160, 262_144, 0, 1000, 16, 2000),
        placement=Placement("whole", (Part(PLACE, 265_320, 2, 160),)),
        longest_context=2048,
        decode=Speed(123.4567, 234.5678, "45% to 85% of the data sheet's bandwidth"),
        notes=("a note",),
    )


def describe(checkpoint: Checkpoint, artifact: Artifact, folder: Path, **changes) -> Manifest:
    """`compose` with everything filled in but what a test changes."""
    report = changes.pop("report", None) or make_report()
    nouns = {
        "model": checkpoint,
        "source": manifest.source_records(checkpoint),
        "artifacts": (artifact,),
        "hardware": Hardware(
            "test device", Cpu(UNKNOWN, (), UNKNOWN), UNKNOWN, UNKNOWN, UNKNOWN, (), False, UNKNOWN
        ),
        "deployments": (Deployment(1024),),
        "fits": (make_fit(),),
        "measurements": (Measurement(report, manifest.write_report(report, folder, folder)),),
        "corpus_sha256": "sha256:" + "c" * 64,
        "argv": ("edgepack", "pack", "tiny"),
    }
    return manifest.compose(**nouns | changes)


@dataclass(frozen=True)
class Package:
    """A finished package and the checkpoint it was made from."""

    folder: Path
    checkpoint: Checkpoint

    @property
    def label(self) -> Path:
        return self.folder / "edgepack.toml"

    def edit(self, old: str, new: str) -> None:
        """Change the first place in edgepack.toml that says `old`."""
        text = self.label.read_text()
        assert old in text
        self.label.write_text(text.replace(old, new, 1))

    def report(self) -> dict:
        return json.loads((self.folder / "fidelity.json").read_text())

    def described(self, **changes) -> Manifest:
        """What `compose` makes of the package again, with other nouns where a test has some."""
        artifact = formats.named("gguf").inspect(self.folder / MODEL)
        return describe(self.checkpoint, artifact, self.folder, **changes)


@pytest.fixture
def fit() -> Fit:
    return make_fit()


@pytest.fixture
def report() -> FidelityReport:
    return make_report()


@pytest.fixture
def output_report() -> FidelityReport:
    return make_output_report()


@pytest.fixture
def package(tmp_path: Path) -> Package:
    checkpoint = make_checkpoint(tmp_path / "tiny")
    folder = tmp_path / "out"
    folder.mkdir()
    artifact = formats.named("gguf").inspect(write_gguf(folder / MODEL))
    manifest.write(describe(checkpoint, artifact, folder), folder)
    return Package(folder, checkpoint)
