"""Every scheme against llama.cpp's own quantizer: the type and the bytes of every tensor."""

from __future__ import annotations

from zlib import crc32

import numpy as np
import pytest

from edgepack.quant.ggml import GGML_ENCODINGS
from edgepack.quant.schemes.gguf import SCHEMES, scheme
from edgepack.quant.schemes.mix import overridden
from edgepack.quant.schemes.overrides import NONE, overrides

pytestmark = pytest.mark.oracle

SHAPES = {
    "tied, all heads alone": {"tied": True, "heads": 4, "kv_heads": 4},
    "pairs share": {"heads": 4, "kv_heads": 2, "width": 768, "layers": 3},
    "four share, eight layers": {"heads": 4, "kv_heads": 1, "layers": 8},
    "twelve layers": {"heads": 8, "kv_heads": 2, "layers": 12, "architecture": "qwen2"},
    "sixteen layers, tied": {"layers": 16, "tied": True, "architecture": "qwen2"},
    "odd rows": {"width": 320, "ffn": 96, "layers": 9, "heads": 5, "kv_heads": 1},
    "odd rows, tied": {"width": 96, "ffn": 320, "heads": 3, "kv_heads": 3, "tied": True},
    "eighty shared layers": {"layers": 80, "kv_heads": 1, "architecture": "qwen2"},
    "eighty layers, pairs": {"layers": 80, "kv_heads": 2},
    "eighty layers, unshared": {"layers": 80, "kv_heads": 4},
    "eighty of qwen2, unshared": {"layers": 80, "kv_heads": 4, "architecture": "qwen2"},
    "eighty of qwen3": {"layers": 80, "kv_heads": 1, "architecture": "qwen3"},
}


FEW = ("tied, all heads alone", "pairs share", "four share, eight layers", "odd rows")
LATTICES = frozenset(GGML_ENCODINGS)


def values(weight):
    """Normal weights that differ from tensor to tensor."""
    random = np.random.default_rng(crc32(weight.name.encode()))
    return (random.standard_normal(weight.shape) * 0.05).astype(np.float32)


def write_gguf(path, decoder):
    """The decoder as an F32 GGUF, as little of it as the quantizer reads."""
    writer = pytest.importorskip("gguf").GGUFWriter(path, decoder.gguf.architecture)
    attention = decoder.layers[0].attention
    writer.add_block_count(len(decoder.layers))
    writer.add_context_length(decoder.context_length)
    writer.add_embedding_length(decoder.width)
    writer.add_feed_forward_length(decoder.layers[0].feed_forward.width)
    writer.add_head_count(attention.heads)
    writer.add_head_count_kv(attention.kv_heads)
    writer.add_layer_norm_rms_eps(decoder.norm_epsilon)
    writer.add_vocab_size(decoder.vocabulary)
    for weight in decoder.weights:
        writer.add_tensor(weight.name, values(weight))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture
def theirs(llama_quantize, tmp_path):
    """{tensor name: (type name, bytes)} of a decoder after llama.cpp's quantizer."""
    gguf = pytest.importorskip("gguf")
    types = gguf.GGMLQuantizationType

    def quantize(
        decoder, name, *, imatrix=None, tensors=(), output=None, embedding=None, **settings
    ):
        if not (tmp_path / "f32.gguf").exists():
            write_gguf(tmp_path / "f32.gguf", decoder)
        if output:
            settings["output_tensor_type"] = int(types[output])
        if embedding:
            settings["token_embedding_type"] = int(types[embedding])
        words = (text.rpartition("=") for text in tensors)
        llama_quantize(
            tmp_path / "f32.gguf", tmp_path / "out.gguf",
            int(gguf.LlamaFileType["ALL_F32" if name == "F32" else f"MOSTLY_{name}"]),
            imatrix=imatrix, tensors=[(word, int(types[kind])) for word, _, kind in words],
            **settings,
        )  # fmt: skip
        found = gguf.GGUFReader(tmp_path / "out.gguf").tensors
        return {t.name: (t.tensor_type.name, t.data.tobytes()) for t in found}

    return quantize


def compare(decoder, chosen, expected, imatrix=None):
    assignments = chosen.assign(decoder)
    types = {a.weight.name: a.encoding.name for a in assignments}
    assert types == {tensor: kind for tensor, (kind, _) in expected.items()}, chosen.name
    for weight, encoding in ((a.weight, a.encoding) for a in assignments):
        rows = values(weight).reshape(-1, weight.shape[-1])
        data = encoding.encode(rows, (imatrix or {}).get(weight.name)).tobytes()
        assert data == expected[weight.name][1], (chosen.name, weight.name)


def importances(decoder):
    """Of every matrix of a layer, as llama-imatrix measures them: no head, no embedding."""
    random = np.random.default_rng(3)
    return {
        weight.name: (random.random(weight.shape[-1]) ** 4 + 1e-3).astype(np.float32)
        for weight in decoder.weights
        if weight.layer is not None and len(weight.shape) == 2
    }


def garbage(decoder, chosen):
    """Whether llama.cpp refuses this without a matrix."""
    return any(chosen.needs_importance(a.weight, a.encoding.name) for a in chosen.assign(decoder))


@pytest.mark.parametrize("shape", SHAPES)
def test_types_and_bytes(decoder, theirs, shape):
    model = decoder(**SHAPES[shape])
    for name in SCHEMES:
        if garbage(model, scheme(name)):
            with pytest.raises(RuntimeError):
                theirs(model, name)
        elif LATTICES.isdisjoint(a.encoding.name for a in scheme(name).assign(model)):
            compare(model, scheme(name), theirs(model, name))


@pytest.mark.parametrize("shape", FEW)
def test_with_a_matrix_of_importance(decoder, theirs, shape):
    pytest.importorskip("libggml")
    model = decoder(**SHAPES[shape])
    imatrix = importances(model)
    for name in SCHEMES:
        chosen = overridden(scheme(name), NONE, measured=True)
        compare(model, chosen, theirs(model, name, imatrix=imatrix), imatrix)


@pytest.mark.parametrize(
    "asked",
    [
        {"output": "Q5_0"},
        {"embedding": "Q8_0"},
        {"output": "F16", "embedding": "Q4_0"},
        {"tensors": ["ffn_down=Q6_K"]},
        # whatever is overridden before moves the mix's own layers up
        {"tensors": [r"blk\.[01]\.=Q5_K", "attn=Q3_K", "output=Q4_1"]},
        {"tensors": ["token_embd=F16", "weight=Q2_K"]},
        {"tensors": ["output=Q4_0", "attn_v=BF16"], "output": "Q5_1"},
    ],
)
@pytest.mark.parametrize("shape", FEW)
@pytest.mark.parametrize("name", ["Q4_K_M", "Q2_K", "Q4_0", "IQ4_XS", "MXFP4_MOE"])
def test_overrides(decoder, theirs, asked, shape, name):
    model = decoder(**SHAPES[shape])
    compare(model, overridden(scheme(name), overrides(**asked)), theirs(model, name, **asked))


@pytest.mark.parametrize("asked", [{}, {"output": "Q5_0", "embedding": "Q4_0"}])
@pytest.mark.parametrize("name", ["Q4_K_M", "Q2_K", "Q4_0", "IQ4_XS", "MXFP4_MOE", "TQ2_0"])
def test_pure(decoder, theirs, asked, name):
    """On whole blocks: llama.cpp aborts on others; and it forgets `tensors` when it is pure."""
    model = decoder(**SHAPES["pairs share"])
    compare(
        model,
        overridden(scheme(name), overrides(**asked, pure=True)),
        theirs(model, name, **asked, pure=True),
    )
