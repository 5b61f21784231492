"""Chunks of documents, on a model that sees nothing but the last token: no cut can change it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepack.errors import UsageError
from edgepack.fidelity import Document, profile, score_documents, validate
from edgepack.fidelity.chunks import LOGITS_BYTES, chunks, default_window, whole_chunks

VOCABULARY = 13


def document(name, length, seed=0):
    ids = np.random.default_rng([seed, length]).integers(0, VOCABULARY, length)
    spans = ("prompt", *("think" if i % 3 else "answer" for i in range(1, length)))
    return Document(name, tuple(map(int, ids)), spans)


class Bigram:
    """Logits by the last token alone."""

    name, version, vocabulary = "bigram", "1", VOCABULARY

    def __init__(self, damage, sequences=()):
        rng = np.random.default_rng(3)
        table = 2 * rng.standard_normal((VOCABULARY, VOCABULARY))
        self.table = (table + damage * rng.standard_normal(table.shape)).astype(np.float32)
        self.sequences, self.longest = sequences, 0

    def logits(self, given):
        ids = self.sequences[given] if isinstance(given, int) else given
        self.longest = max(self.longest, len(ids))
        return self.table[list(ids)]


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(2, 120), min_size=1, max_size=4),
    st.integers(16, 130),
    st.one_of(st.none(), st.integers(0, VOCABULARY - 1)),
)
def test_every_token_is_scored_once_as_in_the_whole(lengths, window, bos):
    documents = [document(f"d{n}", length, n) for n, length in enumerate(lengths)]
    cut = chunks(documents, window, bos)
    reference, runtime = Bigram(0, [c.ids for c in cut]), Bigram(0.5)
    found = score_documents(reference, runtime, documents, chunks=cut)
    whole = score_documents(Bigram(0, [d.ids for d in documents]), runtime, documents)
    assert max(len(c.ids) for c in cut) <= window
    for name in ("document", "position", "span", "kl", "candidate_nll", "gap"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))


def test_what_fits_is_whole():
    documents = [document("a", 40), document("b", 64)]
    assert chunks(documents, 64) == whole_chunks(documents)


def test_a_cut_has_a_quarter_of_the_window_before_it():
    (long,) = [document("a", 200)]
    first, second, *_ = chunks([long], 64)
    assert (first.scored, first.stop, len(first.ids)) == (1, 64, 64)
    assert (second.scored, second.stop, second.ids) == (64, 112, long.ids[48:112])


def test_a_document_that_begins_with_bos_does_so_in_every_chunk():
    long = document("a", 200)
    cut = chunks([long], 64, bos=long.ids[0])
    assert all(c.ids[0] == long.ids[0] for c in cut)
    assert cut[1].ids[1:] == long.ids[49:112]
    assert chunks([long], 64, bos=(long.ids[0] + 1) % VOCABULARY) == chunks([long], 64)


def test_the_runtime_is_never_given_more_than_the_window_and_places_stay():
    documents = [document(f"d{n}", 150, n) for n in range(3)]
    cut = chunks(documents, 32)
    runtime = Bigram(3.0)
    report = validate(
        Bigram(0, [c.ids for c in cut]), runtime, documents, profile(), identity="", chunks=cut
    )
    assert runtime.longest == 32
    assert (report.documents, report.tokens) == (3, 3 * 149)
    for worst in report.worst:
        (of,) = (d for d in documents if d.name == worst.document)
        assert (worst.expected, worst.span) == (of.ids[worst.position], of.spans[worst.position])


def test_the_window_is_the_models_unless_logits_would_be_too_large():
    assert default_window(2048, 32_000) == 2048
    assert default_window(131_072, 151_936) == LOGITS_BYTES // (4 * 151_936)
    with pytest.raises(UsageError, match="15 tokens"):
        chunks([document("a", 40)], 15)
