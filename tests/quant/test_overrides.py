"""What was asked of single tensors: words, precedence, names, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgepack.errors import UsageError
from edgepack.quant.ggml import STORED
from edgepack.quant.schemes.gguf import FAITHFUL, scheme
from edgepack.quant.schemes.mix import overridden
from edgepack.quant.schemes.overrides import NONE, overrides


def types(model, name, **asked):
    chosen = overridden(scheme(name), overrides(**asked))
    return {a.weight.name: a.encoding.name for a in chosen.assign(model)}


def test_nothing_asked_changes_nothing(decoder):
    assert not overrides()
    for found in FAITHFUL:
        assert overridden(found, NONE) == found
        assert overridden(found, NONE).name == found.name


def test_a_scheme_that_is_overridden_is_no_longer_called_the_same():
    for asked in (overrides(["ffn=Q8_0"]), overrides(output="F16"), overrides(pure=True)):
        assert overridden(scheme("Q4_K_M"), asked).name == "Q4_K_M-custom"


def test_the_first_pattern_counts_and_is_searched_in_the_whole_name(decoder):
    found = types(decoder(), "Q4_K_M", tensors=[r"^blk\.0\.ffn_D=q8_0", "ffn_down=Q5_0"])
    assert found["blk.0.ffn_down.weight"] == "Q8_0"
    assert found["blk.1.ffn_down.weight"] == "Q5_0"
    assert found["blk.1.ffn_up.weight"] == "Q4_K"


def test_output_and_embedding_go_before_patterns(decoder):
    asked = {"tensors": [".=Q2_K"], "output": "Q5_0", "embedding": "F16"}
    found = types(decoder(), "Q8_0", **asked)
    assert (found["output.weight"], found["token_embd.weight"]) == ("Q5_0", "F16")
    assert found["blk.0.attn_q.weight"] == "Q2_K"
    assert found["blk.0.attn_norm.weight"] == found["blk.0.attn_q.bias"] == "F32"


def test_the_output_type_is_the_embeddings_where_they_are_tied(decoder):
    assert types(decoder(tied=True), "Q4_K_M", output="Q5_K")["token_embd.weight"] == "Q5_K"


def test_pure_is_one_type(decoder):
    found = types(decoder(layers=8), "Q4_K_M", pure=True)
    assert {kind for name, kind in found.items() if kind != "F32"} == {"Q4_K"}


def test_what_does_not_divide_a_row_falls_back_like_a_mix(decoder):
    found = types(decoder(width=320), "Q8_0", tensors=["attn_q=Q4_K", "attn_k=IQ4_XS"])
    assert found["blk.0.attn_q.weight"] == "Q5_0"
    assert found["blk.0.attn_k.weight"] == "IQ4_NL"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("ffn_down", "is not REGEX=TYPE"),
        ("=Q8_0", "is not REGEX=TYPE"),
        ("ffn_down=", "is not REGEX=TYPE"),
        ("ffn_(=Q8_0", "is no regular expression"),
        ("ffn=Q8_K", "unknown tensor type 'Q8_K'"),
    ],
)
def test_words_that_mean_nothing(text, told):
    with pytest.raises(UsageError, match=told) as caught:
        overrides([text])
    assert caught.value.hint


def test_an_equals_sign_within_a_pattern(decoder):
    found = types(decoder(), "Q8_0", tensors=["ffn_(?=up)=Q4_0"])
    assert found["blk.0.ffn_up.weight"] == "Q4_0"
    assert found["blk.0.ffn_gate.weight"] == "Q8_0"


@pytest.mark.parametrize("pattern", ["ffn_dwon", "attn_norm", r"blk\.9\."])
def test_a_pattern_of_no_quantizable_tensor_is_an_error(decoder, pattern):
    with pytest.raises(UsageError, match="no tensor that can be quantized") as caught:
        types(decoder(), "Q8_0", tensors=[f"{pattern}=Q4_0"])
    assert "token_embd.weight" in caught.value.hint


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # a plain function
@given(
    name=st.sampled_from([found.name for found in FAITHFUL]),
    role=st.sampled_from(["attn_q", "attn_v", "ffn_down", "ffn_up", "output.weight"]),
    kind=st.sampled_from(sorted(STORED)),
)
def test_others_keep_a_type_of_their_scheme(decoder, name, role, kind):
    model = decoder(layers=4)
    before = types(model, name)
    after = types(model, name, tensors=[f"{role}={kind}"])
    assert before.keys() == after.keys()
    for tensor in after:
        if role in tensor and not tensor.endswith(("norm.weight", "bias")):
            assert after[tensor] == kind
        elif "ffn_down" not in tensor and "attn_v" not in tensor:  # which are counted
            assert after[tensor] == before[tensor]


def test_they_are_written_as_they_are_asked():
    asked = overrides(["ffn=q8_0", "attn=F16"], "q6_k", "Q4_0", pure=True)
    assert str(asked) == (
        "--tensor-type ffn=Q8_0 --tensor-type attn=F16 --output-type Q6_K --embedding-type Q4_0 "
        "--pure"
    )
