"""The float32 reference against transformers: fixtures/scripts/golden_logits.py kept its logits."""

from __future__ import annotations

import numpy as np
import pytest

from edgepack.errors import UsageError
from edgepack.fidelity import head, reference
from edgepack.fidelity.head import Head
from edgepack.fidelity.reference import Reference
from edgepack.models import open_checkpoint

# BLAS takes another kernel, with its sums in another order, for a product of another shape, and
# which one depends on the processor. Measured over all lengths and pieces of 100 tokens: 4e-5 at
# most, of logits up to 20. A leak between positions or documents moves them by more than 1.
ROUNDING = 2e-4


def stored(path):
    """Documents (token ids) and their logits."""
    with np.load(path) as golden:
        cuts = np.cumsum(golden["lengths"])[:-1]
        return (
            [ids.tolist() for ids in np.split(golden["ids"], cuts)],
            np.split(golden["logits"], cuts),
        )


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3"])
def test_tiny_models_of_every_family(golden, family):
    """Measured: 4e-5 at most, of logits that vary by 3."""
    folder = golden / f"tiny-{family}"
    documents, logits = stored(folder / "logits.npz")
    made = Reference(open_checkpoint(str(folder)), documents)
    for index, expected in enumerate(logits):
        assert made.logits(index).dtype == np.float32
        np.testing.assert_allclose(made.logits(index), expected, rtol=0, atol=ROUNDING)


def test_the_trained_fixture(golden):
    documents, logits = stored(golden / "reasoner_logits.npz")
    made = Reference(open_checkpoint(str(golden.parent / "reasoner")), documents)
    for index, expected in enumerate(logits):
        np.testing.assert_allclose(made.logits(index), expected, rtol=0, atol=1e-3)


@pytest.fixture(scope="module")
def tiny(golden):
    return open_checkpoint(str(golden / "tiny-qwen3"))


def test_documents_do_not_see_each_other(tiny):
    first, second = [5, 6, 7, 8], [9, 10, 11]
    together = Reference(tiny, [first, second])
    np.testing.assert_allclose(
        together.logits(1), Reference(tiny, [second]).logits(0), rtol=0, atol=ROUNDING
    )


def test_no_position_sees_a_later_one(tiny):
    ids = list(range(20, 60))
    whole = Reference(tiny, [ids]).logits(0)
    np.testing.assert_allclose(
        Reference(tiny, [ids[:15]]).logits(0), whole[:15], rtol=0, atol=ROUNDING
    )


def test_scoring_in_pieces_changes_nothing_but_rounding(tiny, monkeypatch):
    ids = list(range(100))
    whole = Reference(tiny, [ids]).logits(0)
    monkeypatch.setattr(reference, "QUERY_ROWS", 7)
    np.testing.assert_allclose(Reference(tiny, [ids]).logits(0), whole, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_the_head_in_slabs_is_the_whole_head(builder, tmp_path, monkeypatch, dtype):
    """Slabs of 7 rows, the last one shorter."""
    folder = builder.write(tmp_path / "tiny", "qwen2", dtype=dtype)
    checkpoint = open_checkpoint(str(folder))
    ref = checkpoint.tensors["model.embed_tokens.weight"]
    monkeypatch.setattr(head, "SLAB_ELEMENTS", 7 * ref.columns)
    assert ref.rows % 7
    hidden = np.random.default_rng(0).standard_normal((5, ref.columns)).astype(np.float32)
    expected = hidden.astype(np.float64) @ ref.read().astype(np.float64).T
    made = Head(ref).logits(hidden)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, expected, rtol=0, atol=1e-5)


def test_progress_counts_layers(tiny):
    seen = []
    Reference(tiny, [[1, 2]], lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]


@pytest.mark.parametrize(
    ("documents", "said"),
    [([], "no documents"), ([[1], []], "no tokens"), ([[290]], "id 290"), ([[3, -1]], "id -1")],
)
def test_ids_that_are_no_rows_are_refused(tiny, documents, said):
    with pytest.raises(UsageError, match=said):
        Reference(tiny, documents)
