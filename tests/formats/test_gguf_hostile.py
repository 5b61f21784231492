"""Heads made by hand to break a reader, and the sentence each is refused with."""

import os
import struct
from io import BytesIO
from pathlib import Path

import pytest

from edgepack.errors import DamagedInput
from edgepack.formats.gguf import cursor as module
from edgepack.formats.gguf.cursor import Cursor
from edgepack.formats.gguf.inspection import inspect
from edgepack.formats.gguf.reader import Head, read_head


@pytest.fixture
def place(tmp_path):
    return tmp_path / "hostile.gguf"


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
        (raw(text(b"a") + struct.pack("<IIQ", 9, 9, 2**40)), "'a' nests 1099511627776 arrays"),
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
