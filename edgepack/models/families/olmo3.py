"""OLMo 3: OLMo 2 with three windowed layers, never stretched, to one that sees all."""

from dataclasses import replace

from edgepack.models.config import Config
from edgepack.models.decoder import Decoder, Layer
from edgepack.models.families import olmo2
from edgepack.models.families.shared.layout import FULL, KINDS, SLIDING, depth, layer_kinds

GGUF = olmo2.GGUF


def decoder(config: Config) -> Decoder:
    full, inner = olmo2.attention_facts(config, FULL), olmo2.feed_forward_facts(config)
    near = olmo2.attention_facts(config, SLIDING)
    near = replace(
        near,
        rope=replace(near.rope, scaling=None),
        window=config.integer("sliding_window", 4096),
    )
    of = {FULL: full, SLIDING: near}
    usual = (FULL if index % 4 == 3 else SLIDING for index in range(depth(config)))
    layers = tuple(Layer(of[kind], inner) for kind in layer_kinds(config, KINDS, usual))
    return olmo2.after(config, layers)
