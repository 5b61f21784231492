"""The reference writing text, against llama.cpp on the same weights, and against itself."""

from __future__ import annotations

import numpy as np
import pytest

from edgepack import formats
from edgepack.errors import Unsupported, UsageError
from edgepack.fidelity import decoding, runtimes
from edgepack.fidelity.decoding import Decoding, bfloat16, sampler
from edgepack.fidelity.reference import Reference
from edgepack.fidelity.replies import prompt_of
from edgepack.models import open_checkpoint
from edgepack.pipeline.validate import read_corpus

SHORT = 40  # tokens: whole replies have some 200, and take a minute


@pytest.fixture(scope="module")
def trained(reasoner):
    return open_checkpoint(str(reasoner))


@pytest.fixture(scope="module")
def prompts(trained):
    return [prompt_of(document) for document in read_corpus(trained, None).documents[:20]]


@pytest.fixture(scope="module")
def writer(trained):
    return Decoding(trained)


def test_greedy_text_is_llama_cpps(written, trained, writer, prompts, tmp_path):
    form = formats.named("gguf")
    artifact = written(form, trained, form.schemes.scheme("F32"), tmp_path)
    mine = writer.write(prompts, SHORT, trained.stop_ids)
    with runtimes.open(artifact.entry(tmp_path), threads=1) as runtime:
        theirs = [runtime.generate(ids, SHORT, trained.stop_ids) for ids in prompts]
    assert [one.tokens for one in mine] == theirs


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_a_cache_changes_nothing_but_rounding(golden, family):
    """Every greedy token is the likeliest of a whole run over the text so far, its gap the same."""
    checkpoint = open_checkpoint(str(golden / f"tiny-{family}"))
    prompts = [[5, 6, 7, 8], [9, 10]]
    for prompt, one in zip(prompts, Decoding(checkpoint).write(prompts, 6, ()), strict=True):
        whole = Reference(checkpoint, [[*prompt, *one.tokens]]).logits(0)
        rows = whole[len(prompt) - 1 : -1]
        assert one.tokens == rows.argmax(axis=1).tolist()
        ranked = np.sort(rows, axis=1)
        np.testing.assert_allclose(one.gaps, ranked[:, -1] - ranked[:, -2], rtol=0, atol=4e-4)


def test_a_stop_token_is_the_last(writer, prompts):
    (free,) = writer.write(prompts[:1], 8, ())
    assert not free.stopped
    (stopped,) = writer.write(prompts[:1], 8, {free.tokens[3]})
    at = free.tokens.index(free.tokens[3])
    assert stopped.tokens == free.tokens[: at + 1]
    assert stopped.stopped


def test_what_is_drawn_depends_on_the_seed_and_on_nobody_beside(writer, prompts):
    alone = writer.write(prompts[:1], 12, (), sampler(5.0, 3))
    beside = writer.write(prompts[:3], 12, (), sampler(5.0, 3))
    assert alone[0].tokens == beside[0].tokens
    assert alone[0].tokens != writer.write(prompts[:1], 12, (), sampler(5.0, 4))[0].tokens


def test_drawn_tokens_have_the_softmaxs_shares():
    logits = np.log(np.array([[0.5, 0.3, 0.2]], np.float32))
    choose = sampler(1.0, 0)
    drawn = [int(choose(logits, np.array([0]), step)[0]) for step in range(4000)]
    shares = np.bincount(drawn, minlength=3) / 4000
    np.testing.assert_allclose(shares, [0.5, 0.3, 0.2], atol=0.03)


def test_rounding_to_bfloat16():
    given = np.array([1.0, 1.00390625, 1.01171875, -3.14159274], np.float32)  # ties go to even
    np.testing.assert_array_equal(
        bfloat16(given), np.array([1.0, 1.0, 1.015625, -3.140625], np.float32)
    )


def test_rounded_activations_are_near_and_not_the_same(writer, prompts):
    (exact,) = writer.write(prompts[:1], 4, ())
    (rounded,) = writer.rounded(bfloat16).write(prompts[:1], 4, ())
    assert exact.tokens == rounded.tokens
    assert exact.gaps != rounded.gaps
    np.testing.assert_allclose(exact.gaps, rounded.gaps, rtol=0.2, atol=0.5)


def test_what_is_too_large_or_no_text_is_refused(trained, writer, monkeypatch):
    with pytest.raises(UsageError, match="no tokens"):
        writer.write([[]], 4, ())
    monkeypatch.setattr(decoding, "LARGEST", 1000)
    with pytest.raises(Unsupported, match="1,000 at most"):
        Decoding(trained)
