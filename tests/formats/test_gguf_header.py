"""Our head of a GGUF, byte for byte what gguf-py writes, and read by gguf-py as it was meant."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter

from edgepack.errors import Unsupported
from edgepack.formats.gguf.header import header
from edgepack.formats.gguf.layout import padded
from edgepack.formats.gguf.metadata import metadata
from edgepack.models import open_checkpoint
from edgepack.quant.schemes.gguf import SCHEMES

REASONER = Path(__file__).parents[2] / "fixtures" / "reasoner"


def oracle(path, architecture, values, tensors=()):
    """The head as gguf-py writes it, padded as it pads before tensor data."""
    writer = GGUFWriter(path, architecture)
    add = {
        str: writer.add_string,
        bool: writer.add_bool,
        int: writer.add_uint32,
        float: writer.add_float32,
        tuple: writer.add_array,
    }
    for key, value in values.items():
        add[type(value)](key, value)
    for tensor in tensors:
        writer.add_tensor_info(
            tensor.weight.name,
            tensor.weight.shape,
            np.dtype(np.float32),
            tensor.encoding.tensor_bytes(tensor.weight.shape),
            raw_dtype=GGMLQuantizationType[tensor.encoding.name],
        )
    with closing(writer):
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
    data = path.read_bytes()
    return data.ljust(padded(len(data)), b"\0")


def parts(source, scheme):
    chosen = SCHEMES[scheme]
    architecture = source.decoder.gguf.architecture
    return architecture, metadata(source, chosen), chosen.assign(source.decoder)


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3"])
@pytest.mark.parametrize("scheme", ["F32", "BF16", "Q4_K_M", "Q2_K"])
def test_a_tiny_checkpoints_head_is_gguf_pys(checkpoint, tmp_path, family, scheme):
    head = parts(checkpoint(family), scheme)
    assert header(*head) == oracle(tmp_path / "oracle", *head)


@pytest.mark.parametrize("scheme", ["Q8_0", "Q3_K_M"])
def test_a_trained_checkpoints_head_is_gguf_pys(tmp_path, scheme):
    head = parts(open_checkpoint(str(REASONER)), scheme)
    assert header(*head) == oracle(tmp_path / "oracle", *head)


@pytest.mark.parametrize(
    "value",
    [
        "", "text", "ünïcode ✓ \0", True, False, 0, 1, 2**32 - 1, 0.0, -1.5, 1e-6, float("inf"),
        (), ("",), ("a", "", "ß"), (1, -2, 2**31 - 1), (0.5, -1e30), (True, False, True),
    ],
)  # fmt: skip
def test_every_kind_of_value_is_stored_as_gguf_py_does(tmp_path, value):
    values = {"before": 1, "key": value, "after": "x"}
    assert header("arch", values, ()) == oracle(tmp_path / "oracle", "arch", values)


def test_the_architecture_comes_first_and_once(tmp_path):
    values = {"a": 1, "general.architecture": "other"}
    path = tmp_path / "head"
    path.write_bytes(header("arch", values, ()))
    names = [name for name in GGUFReader(path).fields if not name.startswith("GGUF.")]
    assert names == ["general.architecture", "a"]


def test_gguf_py_finds_every_key_and_tensor(checkpoint, tmp_path):
    architecture, values, tensors = parts(checkpoint("llama"), "Q4_K_M")
    head = header(architecture, values, tensors)
    size = sum(padded(tensor.encoding.tensor_bytes(tensor.weight.shape)) for tensor in tensors)
    path = tmp_path / "whole.gguf"
    path.write_bytes(head + bytes(size))
    reader = GGUFReader(path)
    for key, value in values.items():
        found = reader.fields[key].contents()
        expected = list(value) if isinstance(value, tuple) else value
        assert found == (pytest.approx(expected) if isinstance(value, float) else expected), key
    offset = len(head)
    for found, tensor in zip(reader.tensors, tensors, strict=True):
        assert found.name == tensor.weight.name
        assert tuple(reversed(found.shape.tolist())) == tensor.weight.shape
        assert found.tensor_type.name == tensor.encoding.name
        assert found.data_offset == offset
        offset += padded(int(found.n_bytes))
    assert offset == len(head) + size


@pytest.mark.parametrize(
    "value", [-1, 2**32, 1e39, "\ud800", ("a", "\udfff"), (1, 2**31), (0.0, -1e39)]
)
def test_a_value_that_does_not_fit_its_type_is_named(value):
    with pytest.raises(Unsupported, match=r"GGUF cannot store general\.odd"):
        header("arch", {"general.odd": value}, ())
