"""The matrix of importance: read as llama.cpp reads it, and refused where it breaks or belongs to
another model."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from edgepack import formats
from edgepack.errors import DamagedInput, Missing, Unsupported, UsageError
from edgepack.formats import Options
from edgepack.formats.gguf.imatrix import read_importance
from edgepack.quant import ggml
from edgepack.quant.schemes.gguf import scheme
from edgepack.quant.schemes.mix import overridden
from edgepack.quant.schemes.overrides import NONE

NAME = "blk.0.ffn_up.weight"


def floats(*values):
    return np.array(values, np.float32)


def test_importance_is_the_mean_of_squares(imatrix_file, tmp_path):
    found = read_importance(imatrix_file(tmp_path, {NAME: floats(1, 2, 7)}, count=4))
    np.testing.assert_array_equal(found.columns[NAME], floats(0.25, 0.5, 1.75))
    assert found.datasets == ("made up", "another")
    assert found.chunks == 3
    assert found.sha256.startswith("sha256:")


def test_every_expert_has_a_count_and_one_never_seen_counts_one(imatrix_file, tmp_path):
    sums = np.arange(6, dtype=np.float32).reshape(3, 2)
    path = imatrix_file(tmp_path, {NAME: sums}, counts=floats(2, 0, 4).reshape(3, 1))
    np.testing.assert_array_equal(
        read_importance(path).columns[NAME], floats(0, 0.5, 1, 1, 1, 1.25)
    )


@pytest.mark.parametrize(
    ("sums", "settings", "told"),
    [
        (floats(1, np.nan), {}, "in_sum2 holds nan at 1; sums of squares"),
        (floats(np.inf, 1), {}, "in_sum2 holds inf at 0"),
        (floats(1, 1, -2), {}, "in_sum2 holds -2.0 at 2"),
        (floats(1, 1), {"count": np.nan}, "counts holds nan at 0"),
        (floats(1, 1), {"count": -1}, "counts holds -1.0 at 0"),
        (floats(1, 1), {"without": ["counts"]}, "counts is missing; a tensor of F32"),
        (np.ones(2, np.float16), {}, "in_sum2 is of type F16; a tensor of F32"),
        (floats(1, 1e21), {"count": 1}, "has a mean square of 1e\\+21; at most 1e\\+20"),
        (floats(1, 1, 1), {"counts": floats(1, 1)}, "has 3 sums and 2 counts"),
    ],
)
def test_what_breaks_the_format(imatrix_file, tmp_path, sums, settings, told):
    path = imatrix_file(tmp_path, {NAME: sums}, **settings)
    with pytest.raises(DamagedInput, match=told) as caught:
        read_importance(path)
    assert str(path) in caught.value.message


def test_no_sums_at_all(imatrix_file, tmp_path):
    with pytest.raises(DamagedInput, match="holds no sums"):
        read_importance(imatrix_file(tmp_path, {}))


def test_a_gguf_that_is_something_else(imatrix_file, tmp_path):
    path = imatrix_file(tmp_path, {NAME: floats(1)}, without=["keys"])
    with pytest.raises(Unsupported, match=r"no imatrix\.datasets and imatrix\.chunk_count"):
        read_importance(path)


def test_the_older_binary_form_is_refused_with_the_way_out(tmp_path):
    path = tmp_path / "old.dat"
    path.write_bytes(struct.pack("<ii", 1, len(NAME)) + NAME.encode())
    with pytest.raises(Unsupported, match="no matrix of importance in a GGUF") as caught:
        read_importance(path)
    assert "llama-imatrix --in-file" in caught.value.hint


def test_no_such_file_and_a_file_cut_anywhere(imatrix_file, tmp_path):
    with pytest.raises(Missing, match="no such file"):
        read_importance(tmp_path / "none.gguf")
    path = imatrix_file(tmp_path, {NAME: floats(*range(40))})
    content = path.read_bytes()
    end = content.rindex(struct.pack("<f", 39)) + 4
    for length in range(4, end, 7):
        path.write_bytes(content[:length])
        with pytest.raises((DamagedInput, Unsupported)):
            read_importance(path)


def measured(name):
    return overridden(scheme(name), NONE, measured=True)


@pytest.fixture
def planned(checkpoint, imatrix_file, tmp_path):
    """The plan of a tiny model under a matrix that `change` has been at."""

    def plan(name, change=lambda sums: None):
        model = checkpoint("llama")
        sums = {
            weight.name: np.ones(weight.shape[-1], np.float32)
            for weight in model.decoder.weights
            if weight.layer is not None and len(weight.shape) == 2
        }
        change(sums)
        options = Options(importance=read_importance(imatrix_file(tmp_path, sums)))
        return formats.named("gguf").plan(model, measured(name), options)

    return plan


def test_a_matrix_of_another_model_is_refused(planned):
    with pytest.raises(
        DamagedInput, match=r"has none for blk\.1\.attn_k\.weight; \d+ are required"
    ):
        planned("Q4_0", lambda sums: sums.pop("blk.1.attn_k.weight"))
    with pytest.raises(
        DamagedInput, match=r"has 3 importances for blk\.0\.ffn_up\.weight; \d+ are"
    ):
        planned("Q4_0", lambda sums: sums.update({NAME: floats(1, 2, 3)}))


def test_what_the_model_has_not_is_ignored(planned):
    assert planned("Q4_0", lambda sums: sums.update({"blk.77.ffn_up.weight": floats(1)}))


@pytest.mark.parametrize("name", ["Q2_K_S", "IQ2_XS"])
def test_garbage_is_refused_before_anything_is_written(checkpoint, name):
    pytest.importorskip("libggml")
    model = checkpoint("llama", hidden_size=256, intermediate_size=256)
    with pytest.raises(UsageError, match="garbage without an importance matrix") as caught:
        formats.named("gguf").plan(model, scheme(name))
    assert "--imatrix" in caught.value.hint


def test_without_ggml_its_encodings_are_missing(checkpoint, monkeypatch):
    monkeypatch.setattr(ggml, "find_spec", lambda name: None)
    ggml._library.cache_clear()
    model = checkpoint("llama", hidden_size=256, intermediate_size=256)
    with pytest.raises(Missing, match="ggml's own code, which is not installed") as caught:
        formats.named("gguf").plan(model, scheme("IQ3_S"))
    assert "python -m pip install libggml-python" in caught.value.hint
    ggml._library.cache_clear()
