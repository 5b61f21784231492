"""Every scheme against llama.cpp's own quantizer: the type and the bytes of every tensor."""

from __future__ import annotations

from zlib import crc32

import numpy as np
import pytest

from edgepack.quant.schemes.gguf import SCHEMES, scheme

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
}


def tensor_name(weight):
    return weight.role if weight.layer is None else f"blk.{weight.layer}.{weight.role}"


def values(weight):
    """Normal weights that differ from tensor to tensor."""
    random = np.random.default_rng(crc32(tensor_name(weight).encode()))
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
        writer.add_tensor(tensor_name(weight), values(weight))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(params=SHAPES)
def model(request, decoder):
    return decoder(**SHAPES[request.param])


def quantized_by_llama_cpp(source, target, name):
    """{tensor name: (type name, bytes)} of `source` after llama.cpp's quantizer."""
    gguf = pytest.importorskip("gguf")
    llama = pytest.importorskip("cyllama.llama.llama_cpp", reason="cyllama has no wheel here")
    parameters = llama.LlamaModelQuantizeParams()
    parameters.nthread = 1
    parameters.ftype = int(gguf.LlamaFileType["ALL_F32" if name == "F32" else f"MOSTLY_{name}"])
    llama.model_quantize(str(source), str(target), parameters)
    tensors = gguf.GGUFReader(target).tensors
    return {t.name: (t.tensor_type.name, t.data.tobytes()) for t in tensors}


def test_types_and_bytes(model, tmp_path):
    source = tmp_path / "f32.gguf"
    write_gguf(source, model)
    for name in SCHEMES:
        expected = quantized_by_llama_cpp(source, tmp_path / "out.gguf", name)
        assignments = scheme(name).assign(model)
        types = {tensor_name(a.weight): a.encoding.name for a in assignments}
        assert types == {tensor: kind for tensor, (kind, _) in expected.items()}, name
        for weight, encoding in ((a.weight, a.encoding) for a in assignments):
            rows = values(weight).reshape(-1, weight.shape[-1])
            data = encoding.encode(rows).tobytes()
            assert data == expected[tensor_name(weight)][1], (name, tensor_name(weight))
