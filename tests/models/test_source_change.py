"""A source that changes under the reader is an error, and is never recorded as the source."""

import shutil
from pathlib import Path

import pytest

from edgepack.errors import DamagedInput
from edgepack.models import open_checkpoint

REASONER = Path(__file__).parents[2] / "fixtures" / "reasoner"


@pytest.fixture
def checkpoint(tmp_path):
    shutil.copytree(REASONER, tmp_path / "model")
    return open_checkpoint(str(tmp_path / "model"))


def test_a_shard_that_changed_is_not_recorded(checkpoint):
    shard = checkpoint.shards[0]
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    with pytest.raises(DamagedInput, match="changed while it was read"):
        list(checkpoint.digests())


def test_a_shard_that_vanished_is_named(checkpoint):
    weight = checkpoint.decoder.weights[0]
    checkpoint.shards[0].unlink()
    with pytest.raises(DamagedInput, match=r"model\.safetensors: tensor .* cannot be read"):
        checkpoint.ref(weight).read()


def test_a_shard_cut_short_is_named(checkpoint):
    weight = checkpoint.decoder.weights[-1]
    with checkpoint.shards[0].open("r+b") as file:
        file.truncate(checkpoint.ref(weight).offset + 8)
    with pytest.raises(DamagedInput, match="ends after 8 of"):
        checkpoint.ref(weight).read()
