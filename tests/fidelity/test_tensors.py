"""Tensors decoded from artifacts, anyone's, against the checkpoint's."""

from __future__ import annotations

import numpy as np
import pytest
from gguf import GGUFReader, dequantize

from edgepack import formats
from edgepack.errors import DamagedInput
from edgepack.fidelity.tensors import Distance, compare, distance
from edgepack.formats import slabs
from edgepack.formats.gguf.plan import interleave
from edgepack.models import open_checkpoint


@pytest.fixture
def trained(reasoner):
    return open_checkpoint(str(reasoner))


@pytest.fixture
def gguf(written, tmp_path):
    """A GGUF of `source` and the means to change one of its tensors."""

    def make(source, scheme):
        form = formats.named("gguf")
        return written(form, source, form.schemes.scheme(scheme), tmp_path).entry(tmp_path)

    return make


def report(entry, source):
    form = formats.holding(entry)
    return compare(str(entry), form.name, form.tensors(entry, source), source, lambda d, t: None)


def rewrite(path, name, change):
    """Replace a tensor's rows, as bytes, by `change` of them."""
    (tensor,) = (t for t in GGUFReader(path).tensors if t.name == name)
    rows = np.ascontiguousarray(tensor.data).view(np.uint8)
    rows = rows.reshape(int(tensor.shape[1]) if len(tensor.shape) > 1 else 1, -1)
    content = bytearray(path.read_bytes())
    start = int(tensor.data_offset)
    content[start : start + rows.size] = np.ascontiguousarray(change(rows)).tobytes()
    path.write_bytes(content)


def test_figures_by_hand():
    own = np.array([[3.0, 4.0], [0.0, 0.0]], np.float32)
    found = distance(np.array([[3.0, 4.0], [0.0, 2.0]], np.float32), own)
    assert found == Distance(error=4.0, own=25.0, stored=29.0, product=25.0, largest=2.0)
    assert found.relative_rmse == pytest.approx(2 / 5)
    assert found.cosine == pytest.approx(25 / (5 * 29**0.5))
    halves = distance(own[:1], own[:1]).joined(distance(np.array([[0.0, 2.0]]), own[1:]))
    assert halves == found


@pytest.mark.parametrize(
    ("stored", "own", "relative", "cosine"),
    [(0, 0, 0, 1), (1, 0, 1, 0), (0, 1, 1, 0), (1, 1, 0, 1)],
)
def test_tensors_of_zeros(stored, own, relative, cosine):
    found = distance(np.full((2, 3), stored, np.float32), np.full((2, 3), own, np.float32))
    assert (found.relative_rmse, found.cosine) == (relative, cosine)


@pytest.mark.parametrize("scheme", ["Q4_K_M", "Q2_K", "Q5_0", "BF16"])
def test_figures_are_those_of_gguf_pys_decoder(gguf, trained, scheme):
    """Every tensor, in this model's order of rows; Q and K are compared in the file's."""
    path = gguf(trained, scheme)
    found = {tensor.name: tensor for tensor in report(path, trained).tensors}
    weights = {w.name: w for w in trained.decoder.weights if w.source}
    head_dim = trained.decoder.layers[0].attention.head_dim
    for tensor in GGUFReader(path).tensors:
        own = trained.ref(weights[tensor.name]).read().astype(np.float64)
        if trained.decoder.gguf.interleaved_rope and (
            "attn_q." in tensor.name or "attn_k." in tensor.name
        ):
            own = interleave(own, head_dim)
        error = (
            dequantize(tensor.data, tensor.tensor_type).astype(np.float64).reshape(own.shape) - own
        )
        mine = found[tensor.name]
        assert mine.encoding == tensor.tensor_type.name
        assert mine.size == tensor.n_bytes
        relative = np.sqrt((error**2).mean() / (own**2).mean())
        assert mine.relative_rmse == pytest.approx(relative, rel=1e-4, abs=1e-12)
        assert mine.max_error == pytest.approx(np.abs(error).max(), rel=1e-4)
    assert not report(path, trained).misplaced


@pytest.mark.parametrize("scheme", ["F32", "Q8_0", "Q4_K_M", "Q2_K"])
@pytest.mark.parametrize("name", ["blk.2.ffn_up.weight", "blk.1.attn_v.weight"])
def test_permuted_rows_are_named(gguf, trained, scheme, name):
    path = gguf(trained, scheme)
    assert report(path, trained).misplaced == ()
    rewrite(path, name, lambda rows: np.roll(rows, 1, axis=0))
    found = report(path, trained)
    assert found.misplaced == (name,)
    assert found.tensors[0].name == name
    assert found.tensors[0].cosine < 0.5


def test_rotary_pairs_left_apart_are_named(gguf, builder, tmp_path):
    """What a converter that forgets to interleave writes."""
    source = open_checkpoint(str(builder.write(tmp_path / "source" / "tiny", "llama")))
    path = gguf(source, "F16")
    rewrite(path, "blk.1.attn_q.weight", lambda rows: interleave(interleave(rows, 8), 8))
    assert report(path, source).misplaced == ("blk.1.attn_q.weight",)


def test_encodings_are_summed_over_their_tensors(gguf, trained):
    found = report(gguf(trained, "Q4_K_M"), trained)
    for of in found.encodings:
        tensors = [tensor for tensor in found.tensors if tensor.encoding == of.encoding]
        assert (of.tensors, of.size) == (len(tensors), sum(tensor.size for tensor in tensors))
        assert of.max_error == max(tensor.max_error for tensor in tensors)
        errors = [tensor.relative_rmse for tensor in tensors]
        assert min(errors) <= of.relative_rmse <= max(errors)
    assert [t.relative_rmse for t in found.tensors] == sorted(
        (t.relative_rmse for t in found.tensors), reverse=True
    )


def test_what_is_not_finite_is_damaged(gguf, trained):
    path = gguf(trained, "F16")
    rewrite(path, "blk.0.ffn_up.weight", lambda rows: np.full_like(rows, 0xFF))
    with pytest.raises(DamagedInput, match=r"blk\.0\.ffn_up\.weight decodes to what is not finite"):
        report(path, trained)


def test_another_models_checkpoint(gguf, trained, golden):
    with pytest.raises(DamagedInput, match=r"tensor .* is "):
        report(gguf(trained, "F16"), open_checkpoint(str(golden / "tiny-llama")))


@pytest.mark.parametrize("name", formats.known())
@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3"])
def test_float32_comes_back_in_the_checkpoints_own_order(
    written, builder, tmp_path, monkeypatch, name, family
):
    """Slabs of a few rows, biases of rotated heads among them: every format undoes what it does."""
    changes = {"attention_bias": True} if family == "llama" else {}
    source = open_checkpoint(str(builder.write(tmp_path / "source" / "tiny", family, **changes)))
    form = formats.named(name)
    (tmp_path / "out").mkdir()
    entry = written(form, source, form.schemes.scheme("F32"), tmp_path / "out").entry(
        tmp_path / "out"
    )
    monkeypatch.setattr(slabs, "SLAB_ELEMENTS", 256)
    found = report(entry, source)
    assert {t.name for t in found.tensors} == {w.name for w in source.decoder.weights if w.source}
    assert {(t.relative_rmse, t.max_error) for t in found.tensors} == {(0.0, 0.0)}
    assert [t.cosine for t in found.tensors] == pytest.approx([1.0] * len(found.tensors))


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        ("mlx", "4bit-g64"), ("mlx", "mxfp4"), ("mlx", "mixed_3_6"), ("mlx", "BF16"),
        ("onnx", "int4-g32"), ("onnx", "int4-g64-asym-head8"), ("onnx", "int8-g32"),
        ("onnx", "F16"),
    ],
)  # fmt: skip
def test_other_formats_are_decoded(written, trained, tmp_path, name, scheme):
    form = formats.named(name)
    artifact = written(form, trained, form.schemes.scheme(scheme), tmp_path)
    found = report(artifact.entry(tmp_path), trained)
    assert found.misplaced == ()
    assert found.tensors[0].relative_rmse < 0.3
    counted = {c.encoding: (c.tensors, c.size) for c in artifact.histogram if c.encoding != "I64"}
    stated = {of.encoding: (of.tensors, of.size) for of in found.encodings}
    assert stated.keys() == counted.keys()
    if name == "mlx":  # an ONNX graph has tables of angles besides
        assert stated == counted
