"""GGUF files of ours, read by gguf-py and run by llama.cpp."""

from __future__ import annotations

import resource
import sys
from collections import Counter

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader

from edgepack.errors import OutputError
from edgepack.fidelity import runtimes
from edgepack.formats.gguf import Gguf
from edgepack.formats.gguf.plan import interleave
from edgepack.models import open_checkpoint
from edgepack.quant.schemes.gguf import FAITHFUL, SCHEMES

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")


def silent(done, total):
    """No progress bar."""


@pytest.fixture
def write(written, package):
    """Encode a checkpoint: the artifact and its path."""

    def make(source, scheme="F32"):
        artifact = written(Gguf(), source, SCHEMES[scheme], package)
        return artifact, artifact.entry(package)

    return make


def keys(path):
    return {
        name: field.contents()
        for name, field in GGUFReader(path).fields.items()
        if not name.startswith("GGUF.")
    }


def test_every_key(checkpoint, write):
    source = checkpoint()
    (source.root / "README.md").write_text(
        "---\nlicense: mit\nlanguage: en\nbase_model: [org/base, local]\n---\n"
    )
    found = keys(write(source, "F16")[1])
    tokens = found.pop("tokenizer.ggml.tokens")
    kinds = found.pop("tokenizer.ggml.token_type")
    merges = found.pop("tokenizer.ggml.merges")
    assert len(tokens) == len(kinds) == 290
    assert tokens[:3] == ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    assert kinds[:3] == [3, 3, 3]  # control
    assert (tokens[-1], kinds[-1], kinds[-3]) == ("[PAD289]", 5, 1)  # unused, normal
    assert merges[0].count(" ") == 1
    assert found.pop("general.quantized_by").startswith("edgepack ")
    assert "<|im_start|>" in found.pop("tokenizer.chat_template")
    assert found == {
        "general.architecture": "qwen2",
        "general.type": "model",
        "general.name": "tiny",
        "general.size_label": "24.9K",
        "general.license": "mit",
        "general.languages": ["en"],
        "general.base_model.count": 2,
        "general.base_model.0.name": "base",
        "general.base_model.0.organization": "org",
        "general.base_model.0.repo_url": "https://huggingface.co/org/base",
        "general.base_model.1.name": "local",
        "general.file_type": 1,
        "general.quantization_version": 2,
        "general.sampling.temp": pytest.approx(0.6),
        "general.sampling.top_k": 20,
        "general.sampling.top_p": pytest.approx(0.95),
        "qwen2.vocab_size": 290,
        "qwen2.context_length": 512,
        "qwen2.embedding_length": 32,
        "qwen2.block_count": 2,
        "qwen2.feed_forward_length": 48,
        "qwen2.attention.head_count": 4,
        "qwen2.attention.head_count_kv": 2,
        "qwen2.attention.key_length": 8,
        "qwen2.attention.value_length": 8,
        "qwen2.attention.layer_norm_rms_epsilon": pytest.approx(1e-6),
        "qwen2.rope.freq_base": 10000.0,
        "qwen2.rope.dimension_count": 8,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.padding_token_id": 0,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.ggml.add_eos_token": False,
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_tensors_carry_the_checkpoints_numbers(checkpoint, write, family):
    """F32 out of bf16 is exact; Q and K of the llama architecture come in another row order."""
    source = checkpoint(family)
    tensors = {tensor.name: tensor for tensor in GGUFReader(write(source)[1]).tensors}
    assert set(tensors) == {weight.name for weight in source.decoder.weights}
    for weight in source.decoder.weights:
        found = tensors[weight.name]
        assert tuple(reversed(found.shape.tolist())) == weight.shape
        if weight.source is None:
            continue
        expected = source.ref(weight).read()
        if source.decoder.gguf.interleaved_rope and weight.role in (
            "attn_q.weight",
            "attn_k.weight",
        ):
            assert not np.array_equal(found.data, expected)
            found, expected = np.sort(found.data, axis=0), np.sort(expected, axis=0)
            np.testing.assert_array_equal(found, expected)
        else:
            np.testing.assert_array_equal(found.data, expected)


def test_interleaving_by_hand():
    """Two heads of four rows: pairs (0, 2) and (1, 3) become neighbours."""
    rows = np.arange(8, dtype=np.float32).reshape(8, 1)
    assert interleave(rows, 4).ravel().tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


def test_biases_are_interleaved_too(checkpoint, builder, write, package):
    """The llama architecture with attention_bias, in llama.cpp, against the same in transformers'
    row order: a bias left behind would show."""
    from edgepack.fidelity.reference import Reference

    source = checkpoint("llama", attention_bias=True)
    ids = np.random.default_rng(3).integers(0, 290, 40).tolist()
    expected = Reference(source, [ids]).logits(0)
    with runtimes.open(write(source)[1], threads=1) as runtime:
        assert divergence(expected, runtime.logits(ids)) < 1e-9


def test_linear_rope_scaling_in_llama_cpp(checkpoint, write):
    from edgepack.fidelity.reference import Reference

    source = checkpoint("llama", rope_scaling={"rope_type": "linear", "factor": 4.0})
    ids = np.random.default_rng(4).integers(0, 290, 40).tolist()
    expected = Reference(source, [ids]).logits(0)
    with runtimes.open(write(source)[1], threads=1) as runtime:
        assert divergence(expected, runtime.logits(ids)) < 1e-9


def divergence(expected, found):
    """Mean KL divergence, in float64, so that the floor is not this function's own rounding."""

    def log_softmax(x):
        x = x.astype(np.float64)
        x = x - x.max(-1, keepdims=True)
        return x - np.log(np.exp(x).sum(-1, keepdims=True))

    p, q = log_softmax(expected), log_softmax(found)
    return float((np.exp(p) * (p - q)).sum(-1).mean())


@pytest.mark.parametrize("family", FAMILIES)
def test_llama_cpp_computes_what_transformers_does(golden, write, family):
    """Measured: a mean KLD of 1e-11, and logits equal to 5e-5."""
    folder = golden / f"tiny-{family}"
    with np.load(folder / "logits.npz") as stored:
        ids, lengths, logits = stored["ids"], stored["lengths"], stored["logits"]
    with runtimes.open(write(open_checkpoint(str(folder)))[1], threads=1) as runtime:
        assert runtime.vocabulary == logits.shape[1]
        pieces = np.split(ids, np.cumsum(lengths)[:-1])
        found = np.concatenate([runtime.logits(piece.tolist()) for piece in pieces])
    assert divergence(logits, found) < 1e-9
    np.testing.assert_allclose(found, logits, atol=1e-3)


@pytest.mark.parametrize("width", [256, 32])
def test_every_scheme_writes_the_types_it_assigned(
    written, planned_bytes, checkpoint, package, width
):
    """Rows of 256 are whole K-quant blocks, rows of 32 are not; 48 columns fit no block."""
    inner = {256: 512, 32: 48}[width]
    source = checkpoint("llama", hidden_size=width, intermediate_size=inner)
    usual = {scheme.name for scheme in FAITHFUL} | {"TQ1_0", "TQ2_0", "MXFP4_MOE"}
    for name, scheme in ((name, SCHEMES[name]) for name in sorted(usual)):
        folder = package / name
        folder.mkdir()
        artifact = written(Gguf(), source, scheme, folder)
        assert artifact.scheme == name
        assert artifact.size == planned_bytes(Gguf(), source, scheme)
        assigned = {a.weight.name: a.encoding.name for a in scheme.assign(source.decoder)}
        read = {
            tensor.name: GGMLQuantizationType(tensor.tensor_type).name
            for tensor in GGUFReader(artifact.entry(folder)).tensors
        }
        assert read == assigned
        assert {c.encoding: c.tensors for c in artifact.histogram} == Counter(assigned.values())


def test_the_tensors_digest_outlives_a_new_header(checkpoint, write, package):
    source = checkpoint()
    first, path = write(source)
    (source.root / "generation_config.json").write_text('{"temperature": 0.1}')
    again, _ = write(open_checkpoint(str(source.root)))
    assert again.files[0].sha256 != first.files[0].sha256
    assert again.tensor_digest == first.tensor_digest

    data = bytearray(path.read_bytes())
    data[int(GGUFReader(path).tensors[3].data_offset)] ^= 1
    path.write_bytes(data)
    assert Gguf().inspect(path).tensor_digest != first.tensor_digest


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full")
def test_a_full_disk(written, checkpoint, package):
    (package / "tiny-F16.gguf").symlink_to("/dev/full")
    with pytest.raises(OutputError, match="no space left"):
        written(Gguf(), checkpoint(), SCHEMES["F16"], package)


@pytest.mark.parametrize("limit", [4096, 30_000])
def test_a_file_that_may_not_grow(written, checkpoint, package, limit):
    """4,096 bytes end in the header, 30,000 in the tensors."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    source = checkpoint()
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(OutputError, match=r"cannot write: File too large$") as found:
            written(Gguf(), source, SCHEMES["F16"], package)
        assert "ulimit -f" in found.value.hint
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
