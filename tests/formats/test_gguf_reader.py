"""Heads of gguf-py and of our own, whole, cut and mutated."""

import random
import struct
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFEndian, GGUFReader, GGUFValueType, GGUFWriter
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepack.errors import DamagedInput
from edgepack.formats.gguf import cursor as module
from edgepack.formats.gguf.header import header
from edgepack.formats.gguf.inspection import inspect
from edgepack.formats.gguf.layout import RETIRED, TENSOR_TYPES, ValueType, padded
from edgepack.formats.gguf.metadata import metadata
from edgepack.formats.gguf.reader import Array, read_head
from edgepack.quant.encodings import ENCODINGS
from edgepack.quant.schemes.gguf import SCHEMES

SCALARS = {
    "UINT8": 200, "INT8": -100, "UINT16": 60_000, "INT16": -30_000, "UINT32": 4_000_000_000,
    "INT32": -2_000_000_000, "FLOAT32": 0.5, "BOOL": True, "UINT64": 2**64 - 1, "INT64": -(2**62),
    "FLOAT64": 0.1, "STRING": "ünï ✓",
}  # fmt: skip


def written(writer):
    """Finish gguf-py's file; its path."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return Path(writer.path)


def values(head):
    """All values, arrays as tuples."""

    def plain(value):
        return tuple(map(plain, value.elements())) if isinstance(value, Array) else value

    return {key: plain(value) for key, value in head.values.items()}


def test_every_type_that_gguf_py_writes(tmp_path):
    writer = GGUFWriter(tmp_path / "types.gguf", "arch")
    expected = {"general.architecture": "arch"}
    for name, value in SCALARS.items():
        kind = GGUFValueType[name]
        writer.add_key_value(name, value, kind)
        writer.add_key_value(f"{name}.array", [value] * 3, GGUFValueType.ARRAY, kind)
        expected |= {name: value, f"{name}.array": (value,) * 3}
    writer.add_array("nested", [[1, 2], [4]])
    writer.add_array("deep", [[["a", "b"], ["c"]], [["d"]]])
    expected |= {"nested": ((1, 2), (4,)), "deep": ((("a", "b"), ("c",)), (("d",),))}
    head = read_head(written(writer))
    assert values(head) == expected
    assert head.values["UINT8.array"].kind is ValueType.UINT8
    assert {kind.name: int(kind) for kind in ValueType} == {k.name: int(k) for k in GGUFValueType}
    assert head.tensors == ()


@pytest.mark.parametrize("alignment", [8, 32, 4096])
def test_tensors_that_gguf_py_writes(tmp_path, alignment):
    writer = GGUFWriter(tmp_path / "tensors.gguf", "arch")
    writer.add_custom_alignment(alignment)
    for index, (kind, (_, size)) in enumerate(GGML_QUANT_SIZES.items()):
        data = np.full((2, 3, 2 * size), index, np.uint8)
        writer.add_tensor(kind.name, data, raw_dtype=kind)
    writer.add_tensor("vector", np.arange(7, dtype=np.float32))
    path = written(writer)
    reader, head, content = GGUFReader(path), read_head(path), path.read_bytes()
    assert head.data_offset == reader.data_offset
    for ours, theirs in zip(head.tensors, reader.tensors, strict=True):
        assert (ours.name, ours.offset, ours.size) == (
            theirs.name, theirs.data_offset, theirs.n_bytes
        )  # fmt: skip
        assert ours.encoding == theirs.tensor_type.name
        assert ours.shape == "x".join(map(str, theirs.shape.tolist()))
        assert content[ours.offset : ours.offset + ours.size] == theirs.data.tobytes()


def test_every_type_of_ggml_has_its_size():
    assert {number: tuple(kind) for number, kind in TENSOR_TYPES.items()} == {
        int(kind): (kind.name, *sizes) for kind, sizes in GGML_QUANT_SIZES.items()
    }
    assert not set(RETIRED) & set(map(int, GGMLQuantizationType))
    ours = {kind.name: kind for kind in TENSOR_TYPES.values()}
    for name, encoding in ENCODINGS.items():
        assert ours[name] == (name, encoding.block, encoding.block_bytes)


@pytest.fixture(scope="module")
def whole(builder, tmp_path_factory):
    """A small file of our own, and the length of its head."""
    from edgepack.models import open_checkpoint

    folder = builder.write(tmp_path_factory.mktemp("source") / "tiny", "qwen2", num_hidden_layers=1)
    source, scheme = open_checkpoint(str(folder)), SCHEMES["Q8_0"]
    tensors = scheme.assign(source.decoder)
    head = header(source.decoder.gguf.architecture, metadata(source, scheme), tensors)
    sizes = (padded(tensor.encoding.tensor_bytes(tensor.weight.shape)) for tensor in tensors)
    return head + bytes(sum(sizes)), len(head)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """One path for thousands of mutants."""
    return tmp_path_factory.mktemp("mutants") / "mutant.gguf"


@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_a_head_read_in_pieces_of_any_size(whole, place, monkeypatch, chunk):
    content, length = whole
    place.write_bytes(content)
    expected = GGUFReader(place)
    monkeypatch.setattr(module, "CHUNK", chunk)
    head = read_head(place)
    assert (head.version, head.data_offset) == (3, length)
    found = values(head)
    for key, field in expected.fields.items():
        if not key.startswith("GGUF."):
            theirs = field.contents()
            assert found[key] == (tuple(theirs) if isinstance(theirs, list) else theirs)


def test_version_2_is_laid_out_as_version_3(whole, place):
    content, _ = whole
    place.write_bytes(content)
    third = read_head(place)
    place.write_bytes(b"GGUF" + struct.pack("<I", 2) + content[8:])
    second = read_head(place)
    assert second.version == 2
    assert (values(second), second.tensors) == (values(third), third.tensors)


def test_big_endian_is_refused_by_name(tmp_path):
    path = written(GGUFWriter(tmp_path / "big.gguf", "arch", endianess=GGUFEndian.BIG))
    with pytest.raises(DamagedInput, match="big-endian") as caught:
        read_head(path)
    assert "little-endian" in caught.value.hint


def sound(path):
    """Whether `path` is read; then everything in it can be used. Only our error may escape."""
    try:
        head = read_head(path)
    except DamagedInput as error:
        assert str(path) in error.message
        assert error.hint
        return False
    size = path.stat().st_size
    for tensor in head.tensors:
        assert head.data_offset <= tensor.offset
        assert tensor.offset + tensor.size <= size
    ordered = sorted(head.tensors, key=lambda tensor: (tensor.offset, tensor.size))
    assert all(one.offset + one.size <= two.offset for one, two in pairwise(ordered))
    try:
        values(head)
    except DamagedInput as error:
        assert str(path) in error.message
    return True


def test_every_truncation_is_damaged(whole, place):
    content, length = whole
    for size in [*range(64), *range(64, len(content), 97), length - 1, length, len(content) - 32]:
        place.write_bytes(content[:size])
        assert not sound(place)
        with pytest.raises(DamagedInput):
            inspect(place)


def test_thousands_of_mutations_raise_only_our_error(whole, place):
    content, length = whole
    rng, refused = random.Random(3), 0
    for number in range(4000):
        mutant = bytearray(content)
        for _ in range(rng.randint(1, 3)):
            # every other one near the front or in the tensor table, where the numbers are
            dense = rng.choice([0, length - 1500]) + rng.randrange(1500)
            at = rng.randrange(length) if number % 2 else dense
            byte = mutant[at] ^ 1 << rng.randrange(8)
            mutant[at] = rng.choice([0, 1, 8, 9, 127, 128, 255, byte])
        place.write_bytes(mutant)
        refused += not sound(place)
    assert refused > 1000


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_change_raises_only_our_error(whole, place, data):
    """Bytes replaced, inserted or removed anywhere in the head."""
    content, length = whole
    at = data.draw(st.integers(0, length))
    removed = data.draw(st.integers(0, 16))
    number = st.integers(0, 2**64 - 1).map(lambda value: struct.pack("<Q", value))
    added = data.draw(st.one_of(st.binary(max_size=16), number))
    place.write_bytes(content[:at] + added + content[at + removed :])
    sound(place)


@settings(max_examples=300, deadline=None)
@given(rest=st.binary(max_size=200), tensors=st.integers(0, 3), pairs=st.integers(0, 3))
def test_any_bytes_raise_only_our_error(place, rest, tensors, pairs):
    place.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, tensors, pairs) + rest)
    sound(place)
