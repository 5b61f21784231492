"""Heads of gguf-py and of our own, whole, cut and mutated."""

import os
import random
import struct
from io import BytesIO
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
from edgepack.formats.gguf.cursor import Cursor
from edgepack.formats.gguf.header import header
from edgepack.formats.gguf.layout import RETIRED, TENSOR_TYPES, ValueType, padded
from edgepack.formats.gguf.metadata import metadata
from edgepack.formats.gguf.reader import Array, Head, inspect, read_head
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


def text(value):
    return struct.pack("<Q", len(value)) + value


def raw(*pairs, tensors=(), data=0):
    """A file of these pairs and table entries, with `data` zeros after them, unaligned."""
    counts = struct.pack("<IQQ", 3, len(tensors), len(pairs))
    return b"GGUF" + counts + b"".join(pairs) + b"".join(tensors) + bytes(data)


def entry(name, extents, kind, offset):
    count = len(extents)
    return text(name) + struct.pack(f"<I{count}QIQ", count, *extents, kind, offset)


ARCHITECTURE = text(b"general.architecture") + struct.pack("<I", 8) + text(b"qwen2")
ALIGNMENT = text(b"general.alignment")
NESTED = struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 6 + struct.pack("<IQ", 0, 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "byte 4 of a file of 0"),
        (b"FUGG" + bytes(60), "begins with b'FUGG', not b'GGUF'"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1; little-endian versions 2 and 3"),
        (b"GGUF" + struct.pack("<IQQ", 4, 0, 0), "version 4"),
        (b"GGUF" + struct.pack("<IQQ", 0, 0, 0), "version 0"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**63, 0), "number of tensors counts 92233720368"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**63), "number of keys counts 92233720368"),
        # a key that is no name, is too long, is there twice, or is of a type unknown
        (raw(text(b"") + struct.pack("<IB", 0, 0)), "key 1 of 1 has a name of 0 bytes"),
        (raw(struct.pack("<Q", 2**64 - 8) + bytes(8)), "a name of 18446744073709551608 bytes"),
        (raw(text(b"\xff") + struct.pack("<II", 4, 0)), "key 1 of 1 is not UTF-8"),
        (raw(text(b"a") + struct.pack("<II", 99, 0)), "'a' has values of type 99"),
        (raw(ARCHITECTURE, ARCHITECTURE), "'general.architecture' is there twice"),
        (raw(text(b"s") + struct.pack("<I", 8) + text(b"\xff\xfe")), "'s' is not UTF-8"),
        (raw(text(b"s") + struct.pack("<IQ", 8, 2**64 - 1)), "'s' would reach to byte"),
        # arrays: 2**60 bytes, strings whose lengths overflow, a type unknown, nests without end
        (raw(text(b"a") + struct.pack("<IIQ", 9, 0, 2**60)), "'a' would reach to byte"),
        (raw(text(b"a") + struct.pack("<IIQ", 9, 10, 2**61)), "'a' would reach to byte"),
        (raw(text(b"a") + struct.pack("<IIQ", 9, 8, 2**63)), "'a' would reach to byte"),
        (raw(text(b"a") + struct.pack("<IIQQ", 9, 8, 1, 2**64 - 8)), "'a' would reach to byte"),
        (raw(text(b"a") + struct.pack("<IIQQQ", 9, 8, 2, 2**64 - 8, 0)), "'a' would reach to"),
        (raw(text(b"a") + struct.pack("<IIQ", 9, 13, 0)), "'a' has values of type 13"),
        (raw(text(b"a") + NESTED), "'a' nests arrays more than 4 deep"),
        # alignment
        (raw(ALIGNMENT + struct.pack("<II", 4, 0)), "alignment' is 0; a power of two"),
        (raw(ALIGNMENT + struct.pack("<II", 4, 24)), "alignment' is 24; a power of two"),
        (raw(ALIGNMENT + struct.pack("<IQ", 10, 32)), "UINT64; UINT32 is required"),
        # tensors: dimensions, products of 0 and of 2**64, types, rows, places
        (raw(tensors=[text(b"w") + struct.pack("<I", 2**31) + bytes(16)]), "2147483648 dimensions"),
        (raw(tensors=[entry(b"w", (1,) * 5, 0, 0)]), "has 5 dimensions; at most 4"),
        (raw(tensors=[entry(b"w", (2**32, 2**32), 0, 0)], data=64), "fewer than 2^63 elements"),
        (raw(tensors=[entry(b"w", (0, 2**62, 2**62), 0, 0)], data=64), "fewer than 2^63 elements"),
        (raw(tensors=[entry(b"w", (2**63 - 1,), 0, 0)], data=64), "'w' would reach to byte"),
        (raw(tensors=[entry(b"w", (4,), 99, 0)], data=64), "type 99, which ggml does not have"),
        (raw(tensors=[entry(b"w", (32,), 31, 0)], data=64), "Q4_0_4_4, which ggml has given up"),
        (raw(tensors=[entry(b"w", (48,), 8, 0)], data=96), "Q8_0 requires a multiple of 32"),
        (raw(tensors=[entry(b"w", (4,), 0, 4)], data=96), "offset 4; a multiple of 32"),
        (raw(tensors=[entry(b"w", (4,), 0, 2**40)], data=64), "'w' would reach to byte 10995"),
        (raw(tensors=[entry(b"w", (4,), 0, 2**64 - 32)], data=64), "'w' would reach to byte"),
        (raw(tensors=[entry(b"w", (4,), 0, 0)]), "'w' would reach to byte"),
        (raw(tensors=[entry(b"", (4,), 0, 0)], data=64), "tensor 1 of 1 has a name of 0 bytes"),
        (raw(tensors=[entry(b"w", (4,), 0, 0)] * 2, data=64), "'w' is there twice"),
        (raw(tensors=[entry(b"v", (16,), 0, 0), entry(b"w", (4,), 0, 32)], data=128),
         "'w' begins at 128, within 'v', which ends at 160"),
    ],
)  # fmt: skip
def test_hostile_heads_are_named(place, content, message):
    place.write_bytes(content)
    with pytest.raises(DamagedInput) as caught:
        read_head(place)
    assert str(place) in caught.value.message
    assert message in caught.value.message
    with pytest.raises(DamagedInput):
        inspect(place)


def test_names_in_messages_are_short_and_printable(place):
    place.write_bytes(raw(text(b"\x1b[2J" + b"k" * 60_000) + struct.pack("<II", 99, 0)))
    with pytest.raises(DamagedInput) as caught:
        read_head(place)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    ("pairs", "found"),
    [
        ([], "missing"),
        ([text(b"general.architecture") + struct.pack("<II", 4, 7)], "no name"),
        ([text(b"general.architecture") + struct.pack("<IQ", 8, 0)], "no name"),
    ],
)
def test_a_model_names_its_architecture(place, pairs, found):
    """Other GGUFs need not, such as an importance matrix: only `inspect` asks for it."""
    place.write_bytes(raw(*pairs))
    assert isinstance(read_head(place), Head)
    with pytest.raises(DamagedInput, match=rf"general\.architecture is {found}"):
        inspect(place)


def test_an_array_with_broken_utf_8_is_named_when_it_is_read(place):
    tokens = struct.pack("<IIQ", 9, 8, 2) + text(b"a") + text(b"\xe4")
    place.write_bytes(raw(ARCHITECTURE, text(b"tokens") + tokens))
    head = read_head(place)
    with pytest.raises(DamagedInput, match="element 1 of key 'tokens' is not UTF-8") as caught:
        head.values["tokens"].elements()
    assert str(place) in caught.value.message
    assert inspect(place).architecture == "qwen2"


def test_empty_and_scalar_tensors_are_read(place):
    tensors = [entry(b"e", (0, 4), 0, 0), entry(b"s", (), 0, 0), entry(b"f", (0,), 8, 0)]
    place.write_bytes(raw(ARCHITECTURE, tensors=tensors, data=64))
    head = read_head(place)
    assert [(t.name, t.shape, t.size) for t in head.tensors] == [
        ("e", "0x4", 0), ("s", "", 4), ("f", "0", 0),
    ]  # fmt: skip


def test_a_head_without_end_is_not_read_into_memory(place, monkeypatch):
    monkeypatch.setattr(module, "HEAD_LIMIT", 1000)
    monkeypatch.setattr(module, "CHUNK", 100)
    place.write_bytes(raw(text(b"s") + struct.pack("<I", 8) + text(b"x" * 2000)))
    with pytest.raises(DamagedInput, match="a header has at most 1000"):
        read_head(place)


def test_more_keys_than_any_model_has(place):
    place.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 70_000) + bytes(1_000_000))
    with pytest.raises(DamagedInput, match="counts 70000; at most 65536 can follow"):
        read_head(place)


def test_a_file_that_shrinks_while_it_is_read():
    cursor = Cursor(Path("x.gguf"), BytesIO(b"GGUF"), 100)
    with pytest.raises(DamagedInput, match=r"x\.gguf.*ends at byte 4"):
        cursor.take(8)


def test_what_is_no_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DamagedInput, match="not there, or no regular file"):
            read_head(path)
