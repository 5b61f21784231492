"""Ministral 3: Mistral's layout, stretched by YaRN, with queries scaled by position."""

from dataclasses import replace

from edgepack.models.config import Config
from edgepack.models.decoder import Decoder, GgufNaming
from edgepack.models.families.shared.dense import dense_decoder
from edgepack.models.families.shared.keys import read_whole
from edgepack.models.families.shared.layout import attended_context
from edgepack.models.features import TEMPERATURE

GGUF = GgufNaming("mistral3", interleaved_rope=True)


BETA = "llama_4_scaling_beta"  # how fast they grow beyond the trained context
REPEATED = "max_position_embeddings"  # within the section too, as transformers 5 saves it


def decoder(config: Config, prefix: str = "model") -> Decoder:
    section = dict(config.section("rope_parameters").values)
    scaled = bool(section.pop(BETA, None))
    if section.get(REPEATED) == config.values.get(REPEATED):
        section.pop(REPEATED, None)

    def read(plain: Config) -> Decoder:
        return dense_decoder(
            plain,
            gguf=GGUF,
            context_length=attended_context(plain, windowed=True),
            prefix=prefix,
            base=1e6,
            epsilon=1e-5,
        )

    made = read_whole(Config(config.path, {**config.values, "rope_parameters": section}), read)
    return replace(made, beyond=frozenset({TEMPERATURE} if scaled else ()))
