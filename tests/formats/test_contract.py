"""What every format promises, asked of each one that is known."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from edgepack import formats
from edgepack.errors import DamagedInput, OutputError, UsageError


@pytest.fixture(params=formats.known())
def kind(request):
    return formats.named(request.param)


def f16(kind):
    return kind.schemes.scheme("F16")


def f32(kind):
    return kind.schemes.scheme("F32")


def test_a_format_is_found_by_its_name_in_any_case(kind):
    assert formats.named(kind.name.upper()).name == kind.name


def test_an_unknown_format_has_a_near_match():
    with pytest.raises(UsageError, match="unknown format 'ggfu'") as caught:
        formats.named("ggfu")
    assert "gguf" in caught.value.hint


@pytest.mark.parametrize("scheme", ["F32", "F16"])
@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3"])
def test_what_is_written_is_what_was_planned(
    written, planned_bytes, kind, checkpoint, package, family, scheme
):
    source = checkpoint(family)
    planned = planned_bytes(kind, source, kind.schemes.scheme(scheme))
    assert list(package.iterdir()) == []
    artifact = written(kind, source, kind.schemes.scheme(scheme), package)
    assert artifact.format == kind.name
    assert artifact.scheme == scheme
    assert artifact.size == planned
    assert sorted(record.path for record in artifact.files) == sorted(
        str(path.relative_to(package)) for path in package.rglob("*") if path.is_file()
    )
    for record in artifact.files:
        content = (package / record.path).read_bytes()
        assert record.size == len(content)
        assert record.sha256 == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert artifact.entry(package).exists()
    stored = [weight for weight in source.decoder.weights if weight.source is not None]
    assert sum(count.tensors for count in artifact.histogram) >= len(stored)


def test_inspection_agrees_with_writing(written, kind, checkpoint, package):
    artifact = written(kind, checkpoint(), f16(kind), package)
    assert kind.inspect(artifact.entry(package)) == artifact


def test_writing_twice_gives_the_same_bytes(written, kind, checkpoint, package):
    source = checkpoint()
    first, second = package / "first", package / "second"
    first.mkdir()
    second.mkdir()
    scheme = f16(kind)
    assert written(kind, source, scheme, first) == written(kind, source, scheme, second)


def test_shards_and_one_file_give_the_same_tensors(
    written, kind, checkpoint, builder, package, tmp_path
):
    from edgepack.models import open_checkpoint

    whole = written(kind, checkpoint(), f16(kind), package)
    folder = builder.write(tmp_path / "parts" / "tiny", "qwen2", shards=3)
    (package / "again").mkdir()
    parts = written(kind, open_checkpoint(str(folder)), f16(kind), package / "again")
    assert parts.tensor_digest == whole.tensor_digest


def test_progress_goes_up_to_every_weight(written, kind, checkpoint, package):
    source, seen = checkpoint(), []
    written(
        kind,
        source,
        f16(kind),
        package,
        lambda done, total: seen.append((done, total)),
    )
    done = [done for done, _ in seen]
    assert done == sorted(done)
    assert {total for _, total in seen} == {source.decoder.parameters}
    assert done[-1] == source.decoder.parameters


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_not_finite_is_named(written, kind, builder, checkpoint, package, value):
    tensors = builder.weights(builder.config("qwen2"))
    tensors["model.layers.1.mlp.up_proj.weight"][7, 5] = value
    source = checkpoint(tensors=tensors, dtype="F32")
    with pytest.raises(DamagedInput) as caught:
        written(kind, source, f16(kind), package)
    assert "model.layers.1.mlp.up_proj.weight" in caught.value.message
    assert "row 7, column 5" in caught.value.message


def test_a_weight_beyond_its_encoding_is_named(written, kind, builder, checkpoint, package):
    """70,000 is finite, and infinite in float16."""
    tensors = builder.weights(builder.config("qwen2"))
    tensors["model.layers.1.mlp.up_proj.weight"][7, 5] = -70_000
    source = checkpoint(tensors=tensors, dtype="F32")
    with pytest.raises(DamagedInput, match=r"-70000\.0 at row 7, column 5, beyond the") as caught:
        written(kind, source, f16(kind), package)
    assert "F32" in caught.value.hint
    assert written(kind, source, f32(kind), package)


def test_a_source_that_shrinks_is_noticed(written, kind, checkpoint, package):
    source = checkpoint()
    shard = source.shards[0]
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(DamagedInput, match="ends after"):
        written(kind, source, f16(kind), package)


def test_a_folder_that_is_not_there(written, kind, checkpoint, package):
    with pytest.raises(OutputError, match="cannot write"):
        written(kind, checkpoint(), f16(kind), package / "nowhere")


def test_the_digest_covers_every_bit_of_every_tensor(written, kind, builder, checkpoint, package):
    """One bit of one weight in the source is another digest."""
    tensors = builder.weights(builder.config("qwen2"))
    first = written(kind, checkpoint(tensors=tensors, dtype="F32"), f32(kind), package)
    tensors["model.norm.weight"].view(np.uint32)[3] ^= 1
    changed = written(kind, checkpoint(tensors=tensors, dtype="F32"), f32(kind), package)
    assert first.tensor_digest != changed.tensor_digest


@pytest.mark.parametrize("content", [b"", b"GGUF", b"not a model", b"\0" * 64, b"{}"])
def test_garbage_is_damaged(kind, package, content):
    path = package / "model.bin"
    path.write_bytes(content)
    with pytest.raises(DamagedInput, match=r"model\.bin"):
        kind.inspect(path)


def test_nothing_there_is_not_a_traceback(kind, package):
    with pytest.raises(DamagedInput):
        kind.inspect(package / "nowhere")
