"""A model in several files, as llama.cpp splits and loads it."""

from __future__ import annotations

import numpy as np
import pytest
from gguf import GGUFReader

from edgepack import formats
from edgepack.errors import DamagedInput, UsageError
from edgepack.fidelity import runtimes
from edgepack.formats import Options
from edgepack.formats.gguf import Gguf
from edgepack.formats.gguf.split import first_part, part_name
from edgepack.models import open_checkpoint
from edgepack.quant.schemes.gguf import SCHEMES

LIMIT = 700_000  # of 1.9 MB, and of metadata of some 40 KB


@pytest.fixture
def split(package):
    def make(source, scheme="Q4_K_M", limit=LIMIT, folder=package):
        target = formats.Target(Gguf(), SCHEMES[scheme], folder, Options(split_bytes=limit))
        (artifact,) = formats.write(source, [target], lambda done, total: None)
        return artifact

    return make


@pytest.fixture
def trained(reasoner):
    return open_checkpoint(str(reasoner))


def test_llama_cpp_loads_the_first_file_and_computes_the_same(
    written, split, trained, package, tmp_path
):
    whole = written(Gguf(), trained, SCHEMES["Q4_K_M"], tmp_path)
    parts = split(trained)
    assert len(parts.files) > 2
    assert parts.tensor_digest == whole.tensor_digest
    assert parts.histogram == whole.histogram
    ids = np.random.default_rng(5).integers(0, trained.vocabulary, 60).tolist()
    with runtimes.open(whole.entry(tmp_path), threads=1) as runtime:
        expected = runtime.logits(ids)
    with runtimes.open(parts.entry(package), threads=1) as runtime:
        np.testing.assert_array_equal(runtime.logits(ids), expected)


def test_names_keys_and_their_types_are_gguf_splits(split, trained, package):
    artifact = split(trained)
    count = len(artifact.files)
    names = [part_name("reasoner-Q4_K_M", number, count) for number in range(count)]
    assert names[0] == f"reasoner-Q4_K_M-00001-of-{count:05}.gguf"
    assert [record.path for record in artifact.files] == names
    tensors = len(trained.decoder.weights)
    found = 0
    for number, name in enumerate(names):
        assert (package / name).stat().st_size <= LIMIT
        reader = GGUFReader(package / name)
        keys = {n: f for n, f in reader.fields.items() if n.startswith("split.")}
        assert {n: (f.types[0].name, f.contents()) for n, f in keys.items()} == {
            "split.no": ("UINT16", number),
            "split.count": ("UINT16", count),
            "split.tensors.count": ("INT32", tensors),
        }
        own = [n for n in reader.fields if not n.startswith(("GGUF.", "split."))]
        assert bool(own) is (number == 0)
        found += len(reader.tensors)
    assert found == tensors


def test_a_model_that_fits_is_not_split(written, split, trained, package, tmp_path):
    whole = written(Gguf(), trained, SCHEMES["Q4_K_M"], tmp_path)
    assert split(trained, limit=1 << 32) == whole


def test_a_larger_tensor_has_a_file_to_itself_and_the_first_may_hold_none(
    written, split, trained, package, tmp_path
):
    """The embedding, which comes first, is beyond the limit; llama.cpp loads that too."""
    whole = written(Gguf(), trained, SCHEMES["F16"], tmp_path)
    artifact = split(trained, "F16", limit=100_000)
    readers = [GGUFReader(path) for path in (package / r.path for r in artifact.files)]
    assert [tensor.name for tensor in readers[0].tensors] == []
    assert [tensor.name for tensor in readers[1].tensors] == ["token_embd.weight"]
    assert artifact.tensor_digest == whole.tensor_digest
    with runtimes.open(whole.entry(tmp_path), threads=1) as runtime:
        expected = runtime.logits([1, 2, 3])
    with runtimes.open(artifact.entry(package), threads=1) as runtime:
        np.testing.assert_array_equal(runtime.logits([1, 2, 3]), expected)


def test_a_limit_below_the_metadata(split, trained, package):
    with pytest.raises(UsageError, match="the metadata alone has"):
        split(trained, limit=4096)
    assert list(package.iterdir()) == []


@pytest.mark.parametrize("name", ["mlx", "onnx"])
def test_other_formats_are_not_split(name, trained):
    form = formats.named(name)
    scheme = form.schemes.scheme("F16")
    with pytest.raises(UsageError, match=f"--split-max-size was given for {name}"):
        form.plan(trained, scheme, Options(split_bytes=LIMIT))


def test_the_first_file_is_found_and_all_are_ours(split, trained, package):
    artifact = split(trained)
    assert Gguf().find(package) == (artifact.entry(package),)
    assert Gguf().ours(package) == {record.path for record in artifact.files}
    for record in artifact.files:
        assert first_part(package / record.path) == artifact.entry(package)


def test_a_missing_file_is_named(split, trained, package):
    artifact = split(trained)
    (package / artifact.files[1].path).unlink()
    with pytest.raises(DamagedInput, match=f"{artifact.files[1].path} is missing"):
        Gguf().inspect(artifact.entry(package))


def test_another_than_the_first_names_the_first(split, trained, package):
    artifact = split(trained)
    with pytest.raises(DamagedInput, match=r"split\.no is 1") as caught:
        Gguf().inspect(package / artifact.files[1].path)
    assert artifact.files[0].path in caught.value.hint


def test_files_of_two_models_do_not_go_together(split, trained, package, tmp_path):
    artifact = split(trained)
    second, third = (package / record.path for record in artifact.files[1:3])
    third.write_bytes(second.read_bytes())
    with pytest.raises(DamagedInput, match=r"split\.no is 1 and split\.count"):
        Gguf().inspect(artifact.entry(package))


def test_a_renamed_first_file_cannot_find_the_others(split, trained, package):
    entry = split(trained).entry(package)
    moved = entry.rename(package / "model.gguf")
    with pytest.raises(DamagedInput, match="the first of") as caught:
        Gguf().inspect(moved)
    assert "-00001-of-" in caught.value.hint
