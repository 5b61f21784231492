from dataclasses import replace

import pytest

from edgepack.errors import Unsupported
from edgepack.models import features
from edgepack.models.decoder import (
    Attention,
    Decoder,
    Experts,
    FeedForward,
    GgufNaming,
    Layer,
    Rope,
)

LAYER = Layer(Attention(4, 2, 8, Rope(10000.0, 8)), FeedForward(64))
PLAIN = Decoder(
    vocabulary=100,
    width=32,
    context_length=128,
    layers=(LAYER, LAYER),
    norm_epsilon=1e-6,
    tied_embeddings=True,
    weights=(),
    gguf=GgufNaming("llama"),
)


def with_attention(**facts):
    layer = replace(LAYER, attention=replace(LAYER.attention, **facts))
    return replace(PLAIN, layers=(layer, layer))


def test_the_plainest_decoder_has_no_features():
    assert features.features(PLAIN) == frozenset()
    features.check_known(PLAIN, frozenset(), "a reader")


@pytest.mark.parametrize(
    ("decoder", "name"),
    [
        (with_attention(window=16), features.WINDOW),
        (with_attention(chunk=16), features.CHUNK),
        (with_attention(sinks=True), features.SINKS),
        (with_attention(scale=0.5), features.SCALE),
        (with_attention(softcap=50.0), features.SOFTCAP),
        (with_attention(owns_cache=False), features.SHARED_CACHE),
        (with_attention(qk_norm="whole"), features.WHOLE_NORM),
        (with_attention(rope=Rope(1e4, 4)), features.PARTIAL_ROTARY),
        (with_attention(rope=Rope(1e4, 0)), features.NO_ROTARY),
        (with_attention(rope=Rope(1e4, 8, neighbours=True)), features.NEIGHBOURS),
        (replace(PLAIN, beyond=frozenset({features.STREAMS})), features.STREAMS),
        (replace(PLAIN, norm="layer"), features.LAYER_NORM),
        (replace(PLAIN, norm_place="after"), features.NORM_PLACE),
        (replace(PLAIN, parallel=True), features.PARALLEL),
        (replace(PLAIN, embedding_scale=12.0), features.MULTIPLIERS),
        (replace(PLAIN, logit_softcap=30.0), features.LOGIT_SOFTCAP),
        (replace(PLAIN, layers=(LAYER, with_attention(window=16).layers[0])), features.DIFFERENT),
    ],
)
def test_what_goes_beyond_it_has_a_name_and_is_refused(decoder, name):
    assert name in features.features(decoder)
    with pytest.raises(Unsupported, match=f"the tester does not know .*{name}"):
        features.check_known(decoder, features.PLAIN, "the tester")


def test_experts_are_a_feature_of_the_feed_forward():
    layer = replace(LAYER, feed_forward=FeedForward(0, experts=Experts(8, 2, 64)))
    assert features.features(replace(PLAIN, layers=(layer,))) == {features.EXPERTS}
