"""One test per invariant of the format: a file that breaks it is named, never read."""

from __future__ import annotations

import json
import os
import random
import struct

import numpy as np
import pytest

from edgepack.errors import DamagedInput, EdgepackError, Unsupported
from edgepack.models.safetensors import read_header, read_index, read_metadata

A = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
B = {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]}
DATA = struct.pack("<6f4H", *range(6), 0x3F80, 0xBF80, 0x4000, 0x7F80)


@pytest.fixture
def write(tmp_path):
    """Write a file whose header is given as an object, as text, or as bytes."""
    path = tmp_path / "model.safetensors"

    def make(header, data=DATA, length=None):
        text = json.dumps(header) if isinstance(header, dict) else header
        raw = text.encode() if isinstance(text, str) else text
        size = len(raw) if length is None else length
        path.write_bytes(size.to_bytes(8, "little") + raw + data)
        return path

    return make


def test_a_sound_file(write):
    path = write({"__metadata__": {"format": "pt"}, "b": B, "a": A})
    refs = read_header(path)
    assert set(refs) == {"a", "b"}
    assert (refs["a"].rows, refs["a"].columns, refs["b"].rows) == (2, 3, 1)
    np.testing.assert_array_equal(refs["a"].read(), [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(refs["a"].read_rows(1, 2), [[3, 4, 5]])
    np.testing.assert_array_equal(refs["b"].read(), [1.0, -1.0, 2.0, np.inf])


def test_an_empty_tensor_is_sound(write):
    refs = read_header(write({"a": {"dtype": "F32", "shape": [0, 3], "data_offsets": [0, 0]}}, b""))
    assert refs["a"].read().shape == (0, 3)


def test_half_precision(write):
    half = {"dtype": "F16", "shape": [3], "data_offsets": [0, 6]}
    refs = read_header(write({"a": half}, struct.pack("<3e", 1.5, -2.0, 65504.0)))
    np.testing.assert_array_equal(refs["a"].read(), [1.5, -2.0, 65504.0])


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        (b"\xff\xfe{}", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"a": ' + "9" * 5000 + "}", "not JSON"),
        (f'{{"a": {json.dumps(A)}, "a": {json.dumps(B)}}}', "twice"),
        ({"a": A, "b": B | {"dtype": "F12"}}, "unknown dtype 'F12'"),
        ({"a": A, "b": B | {"dtype": ["BF16"]}}, "unknown dtype"),
        ({"a": A, "b": 3}, "not described by an object"),
        ({"a": A, "b": {"dtype": "BF16", "shape": [4]}}, "whole numbers"),
        ({"a": A, "b": B | {"shape": [5]}}, "needs 10 bytes, has 8"),
        ({"a": A, "b": B | {"shape": [2**63, 2**63]}}, "needs"),
        ({"a": A, "b": B | {"shape": [-4]}}, "whole numbers"),
        ({"a": A, "b": B | {"shape": [True, 4]}}, "whole numbers"),
        ({"a": A, "b": B | {"shape": [4.0]}}, "whole numbers"),
        ({"a": A, "b": B | {"shape": "4"}}, "whole numbers"),
        ({"a": A, "b": B | {"data_offsets": [24, 32, 40]}}, "offsets"),
        ({"a": A, "b": B | {"data_offsets": [32, 24]}}, "32..24 of 32"),
        ({"a": A, "b": B | {"data_offsets": [28, 36]}}, "28..36 of 32"),
        ({"a": A, "b": B | {"data_offsets": [2**64, 2**64 + 8]}}, "of 32 data bytes"),
        ({"a": A, "b": B | {"data_offsets": [20, 28]}}, "overlaps"),
        ({"a": A | {"data_offsets": [0, 24]}, "b": A}, "overlaps"),
        ({"b": B}, "leaves a hole"),
        ({"a": A}, "tensors end at byte"),
    ],
)
def test_a_broken_header(write, header, said):
    path = write(header)
    with pytest.raises(DamagedInput) as caught:
        read_header(path)
    assert str(path) in caught.value.message
    assert said in caught.value.message
    assert caught.value.exit_code == 5


def test_trailing_bytes(write):
    with pytest.raises(DamagedInput, match="tensors end at byte"):
        read_header(write({"a": A, "b": B}, DATA + b"\0"))


@pytest.mark.parametrize("length", [10_000, 2**63, 2**64 - 1])
def test_a_header_length_beyond_the_file(write, length):
    with pytest.raises(DamagedInput, match=f"header of {length} bytes"):
        read_header(write({"a": A, "b": B}, length=length))


def test_a_header_beyond_the_formats_limit(tmp_path):
    """The file is long enough (and sparse); the header alone is too long to be read."""
    path = tmp_path / "huge.safetensors"
    path.write_bytes((100_000_001).to_bytes(8, "little"))
    os.truncate(path, 100_000_100)
    with pytest.raises(DamagedInput, match="header of 100000001 bytes"):
        read_header(path)


def test_every_truncation(write):
    path = write({"a": A, "b": B})
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(DamagedInput):
            read_header(path)


def test_not_a_file(tmp_path):
    with pytest.raises(DamagedInput, match="nowhere"):
        read_header(tmp_path / "nowhere.safetensors")
    with pytest.raises(DamagedInput):
        read_header(tmp_path)


def test_a_file_that_shrinks_while_it_is_read(write):
    path = write({"a": A, "b": B})
    ref = read_header(path)["b"]
    os.truncate(path, path.stat().st_size - 2)
    with pytest.raises(DamagedInput, match="ends after 6 of 8 bytes"):
        ref.read()


def test_an_integer_tensor_is_not_weights(write):
    refs = read_header(write({"a": {"dtype": "I32", "shape": [8], "data_offsets": [0, 32]}}))
    with pytest.raises(Unsupported, match="tensor a is I32"):
        refs["a"].read()


def test_mutations_raise_only_our_errors(write):
    path = write({"__metadata__": {"format": "pt"}, "a": A, "b": B})
    whole = path.read_bytes()
    header = len(whole) - len(DATA)
    rng = random.Random(1)
    refused = 0
    for _ in range(600):
        mutant = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            mutant[rng.randrange(header)] = rng.choice([0, 9, 34, 45, 48, 57, 93, 125, 255])
        path.write_bytes(mutant)
        try:
            for ref in read_header(path).values():
                ref.read()
        except EdgepackError:
            refused += 1
    assert refused > 500


@pytest.mark.parametrize(
    "shard",
    [
        "../model.safetensors",
        "/etc/model.safetensors",
        "a/model.safetensors",
        "..\\model.safetensors",
        "..",
        "",
        "model.bin",
        "x" * 300 + ".safetensors",
        "a\0b.safetensors",
    ],
)
def test_a_shard_must_be_a_plain_name_beside_its_index(tmp_path, shard):
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": {"a": shard}}))
    with pytest.raises(DamagedInput, match=r"plain \.safetensors file name"):
        read_index(path)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"weight_map": []}', '{"weight_map": 3}', "\x00"]
)
def test_not_an_index(tmp_path, text):
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(text)
    with pytest.raises(DamagedInput, match="not a shard index"):
        read_index(path)


def test_what_a_header_says_of_its_file(write):
    assert read_metadata(write({"a": A}, DATA[:24])) == {}
    assert read_metadata(write({"__metadata__": {"format": "mlx"}, "b": B})) == {"format": "mlx"}
    with pytest.raises(DamagedInput, match="__metadata__ is not an object"):
        read_metadata(write({"__metadata__": "mlx"}))
