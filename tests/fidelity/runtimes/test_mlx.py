"""mlx-lm for real, against the float32 reference and against logits of transformers."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from edgepack import formats
from edgepack.errors import DamagedInput, Missing, UsageError
from edgepack.fidelity import read_corpus, runtimes
from edgepack.fidelity.metrics import score
from edgepack.fidelity.reference import Reference
from edgepack.models import open_checkpoint
from edgepack.models.safetensors import read_header
from edgepack.quant.groups import group_affine

if sys.platform == "win32":
    pytest.skip("MLX has no wheels for Windows", allow_module_level=True)

MLX = formats.named("mlx")
QUESTION = "<|im_start|>user\nwhat is 47+386+9?<|im_end|>\n<|im_start|>assistant\n"
END = 2


@pytest.fixture(scope="module")
def source(reasoner):
    return open_checkpoint(str(reasoner))


@pytest.fixture(scope="module")
def documents(reasoner, source):
    return read_corpus(reasoner / "eval.jsonl", source.tokenizer)


@pytest.fixture(scope="module")
def artifact(written, source, tmp_path_factory):
    """The entry of the reasoner's artifact in a scheme: `artifact(name, plain=False)`."""

    def make(name, *, plain=False):
        folder = tmp_path_factory.mktemp("mlx")
        scheme = MLX.schemes.scheme(name, plain=plain)
        return written(MLX, source, scheme, folder).entry(folder)

    return make


@pytest.fixture(scope="module")
def mean_kld(source, documents):
    """Mean KLD of something with `logits(ids)` on the first few documents."""
    few = documents[:2]
    reference = Reference(source, [document.ids for document in few])

    def measure(logits):
        parts = [
            score(reference.logits(i), logits(document.ids), document, i).kl
            for i, document in enumerate(few)
        ]
        return float(np.concatenate(parts).mean())

    return measure


@pytest.fixture(scope="module")
def runtime(artifact):
    with runtimes.open(artifact("8bit-g64")) as opened:
        yield opened


def test_f32_is_at_the_noise_floor(artifact, mean_kld):
    """Measured: 1.4e-13."""
    with runtimes.open(artifact("F32")) as opened:
        assert mean_kld(opened.logits) < 1e-11


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3"])
def test_every_family_is_what_transformers_runs(written, golden, family, tmp_path):
    """Rotary embedding, norms, biases and tied heads: config.json states them all."""
    folder = golden / f"tiny-{family}"
    scheme = MLX.schemes.scheme("F32")
    made = written(MLX, open_checkpoint(str(folder)), scheme, tmp_path)
    with np.load(folder / "logits.npz") as stored:
        ids = stored["ids"][: stored["lengths"][0]].tolist()
        expected = stored["logits"][: len(ids)]
    with runtimes.open(made.entry(tmp_path)) as opened:
        np.testing.assert_allclose(opened.logits(ids), expected, rtol=0, atol=2e-4)


def test_eight_bits_answer_a_sum(runtime):
    ids = runtime.tokenize(QUESTION)
    answer = runtime.detokenize(runtime.generate(ids, 150, {END}))
    assert answer.endswith("The answer is 442.<|im_end|>")


def test_eight_bits_are_near(runtime, mean_kld):
    """Measured: 6e-6."""
    assert mean_kld(runtime.logits) < 1e-4


def test_logits_are_raw_and_of_every_position(runtime, source):
    first = runtime.logits([5, 6, 7])
    assert first.shape == (3, source.decoder.vocabulary) == (3, runtime.vocabulary)
    assert first.dtype == np.float32
    runtime.logits([9, 10])
    np.testing.assert_array_equal(runtime.logits([5, 6, 7]), first)


def test_generation_is_greedy_and_stops(runtime):
    ids = runtime.tokenize(QUESTION)
    made = runtime.generate(ids, 4, ())
    assert made[0] == runtime.logits(ids)[-1].argmax()
    assert made[3] == runtime.logits([*ids, *made[:3]])[-1].argmax()
    assert runtime.generate(ids, 4, {made[1]}) == made[: made.index(made[1]) + 1]
    assert runtime.generate(ids, 0, ()) == []


def test_the_artifacts_own_tokenizer(runtime, source):
    for text in (QUESTION, "h\u00e9\n12 ", ""):
        assert runtime.tokenize(text) == list(source.tokenizer.encode(text))
    assert runtime.detokenize(runtime.tokenize(QUESTION)) == QUESTION


def swap_nibbles(planes):
    planes[0][:] = (planes[0] << 4) | (planes[0] >> 4)


def transpose_groups(planes):
    """Scales and biases as [groups, rows], which has the same shape on paper."""
    for plane in planes[1:]:
        words = plane.view(np.uint16)
        words[:] = words.T.reshape(words.shape).copy()


@pytest.mark.parametrize("fault", [swap_nibbles, transpose_groups])
def test_a_fault_of_layout_shows(artifact, mean_kld, fault):
    """The distance is a hundred times what four bits cost, and more."""
    entry = artifact("4bit-g64")
    with runtimes.open(entry) as opened:
        sound = mean_kld(opened.logits)
    path = entry.parent / "model.safetensors"
    refs = read_header(path)
    content = np.frombuffer(bytearray(path.read_bytes()), np.uint8)
    for module in (name.removesuffix(".scales") for name in refs if name.endswith(".scales")):
        parts = [refs[f"{module}.{suffix}"] for suffix in ("weight", "scales", "biases")]
        fault([content[r.offset : r.offset + r.nbytes].reshape(r.shape[0], -1) for r in parts])
    path.write_bytes(content.tobytes())
    with runtimes.open(entry) as opened:
        assert mean_kld(opened.logits) > 100 * sound


class Decoded:
    """An artifact's weights read back by our own decoders, and run by the reference."""

    def __init__(self, entry, builder, folder, bits):
        refs = read_header(entry.parent / "model.safetensors")
        encoding = group_affine(bits, 64, "BF16")
        tensors = {}
        for name, ref in refs.items():
            if ref.dtype == "U32":
                planes = [
                    np.frombuffer(raw(refs[name.replace("weight", s)]), np.uint8)
                    for s in ("weight", "scales", "biases")
                ]
                rows = [plane.reshape(ref.shape[0], -1) for plane in planes]
                tensors[name] = encoding.decode(rows, ref.shape[1] * 32 // bits)
            elif name.endswith(("norm.weight", ".bias")):
                tensors[name] = ref.read()
        (folder / "model.safetensors").write_bytes(builder.safetensors(tensors, "F32"))


def raw(ref):
    return ref.file.read_bytes()[ref.offset : ref.offset + ref.nbytes]


@pytest.mark.parametrize("bits", [4, 3])
def test_searching_beats_plain_rounding(artifact, source, documents, builder, tmp_path, bits):
    """Mean KLD of what the files hold, exactly calculated.

    Measured over all 240 documents: 4.3e-3 plain and 1.2e-3 searched at 4 bits, 1.0e-2 and 6.6e-3
    at 3 bits.
    """
    few = documents[:24]
    ids = [document.ids for document in few]
    reference = Reference(source, ids)

    def measured(*, plain):
        folder = tmp_path / f"plain-{plain}"
        folder.mkdir()
        (folder / "config.json").write_bytes((source.root / "config.json").read_bytes())
        Decoded(artifact(f"{bits}bit-g64", plain=plain), builder, folder, bits)
        candidate = Reference(open_checkpoint(str(folder)), ids)
        parts = [
            score(reference.logits(i), candidate.logits(i), document, i).kl
            for i, document in enumerate(few)
        ]
        return np.concatenate(parts).mean()

    plain, search = measured(plain=True), measured(plain=False)
    assert search < 0.85 * plain


def test_bad_sequences_are_refused(runtime):
    with pytest.raises(UsageError, match="empty sequence"):
        runtime.logits([])
    for bad in (-1, runtime.vocabulary):
        with pytest.raises(UsageError, match=f"token id {bad} is outside"):
            runtime.logits([1, bad])
        with pytest.raises(UsageError, match=f"token id {bad} is outside"):
            runtime.generate([bad], 1, ())


def test_a_closed_runtime_says_so(artifact):
    opened = runtimes.open(artifact("4bit-g64").parent)
    opened.close()
    opened.close()
    for use in (lambda: opened.logits([1]), lambda: opened.tokenize("a")):
        with pytest.raises(ValueError, match="was closed"):
            use()


def test_loading_says_nothing(artifact, capfd):
    with runtimes.open(artifact("4bit-g64")) as opened:
        opened.generate([1, 2, 3], 2, ())
    assert capfd.readouterr() == ("", "")


def test_without_mlx_the_extra_is_named(artifact, monkeypatch):
    entry = artifact("4bit-g64")
    monkeypatch.setitem(sys.modules, "mlx_lm", None)
    with pytest.raises(Missing, match="mlx-lm is not installed") as caught:
        runtimes.open(entry)
    assert "edgepack[mlx]" in caught.value.hint


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"model_file": "evil.py"}, "evil.py"),
        ({"model_type": "unheard_of"}, "unheard_of"),
        ({"hidden_size": 128}, "cannot load it"),
        ({"quantization": None}, "how many bits"),
    ],
)
def test_what_cannot_be_loaded_is_damaged(artifact, changes, found):
    entry = artifact("4bit-g64")
    (entry.parent / "evil.py").write_text("raise SystemExit('it was run')", "utf-8")
    values = json.loads(entry.read_text("utf-8")) | changes
    entry.write_text(json.dumps(values), "utf-8")
    with pytest.raises(DamagedInput, match=found) as caught:
        runtimes.open(entry)
    assert str(entry) in caught.value.message
