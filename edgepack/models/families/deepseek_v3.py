"""DeepSeek-V3, V3.1 and R1, without the layer that predicts a further token."""

from dataclasses import replace

from edgepack.models.config import Config
from edgepack.models.decoder import Decoder, Experts, GgufNaming
from edgepack.models.families.shared.latent import latent_decoder
from edgepack.models.families.shared.layout import MOST_EXPERTS, bounded, fixed
from edgepack.models.features import BIASED_CHOICE

GGUF = GgufNaming("deepseek2")


def decoder(config: Config) -> Decoder:
    fixed(config, scoring_func="sigmoid", topk_method="noaux_tc")
    mixture = Experts(
        bounded(config, "n_routed_experts", MOST_EXPERTS),
        config.integer("num_experts_per_tok", 8),
        config.integer("moe_intermediate_size"),
        router="sigmoid",
        normalised=config.flag("norm_topk_prob", True),
        scale=config.number("routed_scaling_factor", 2.5),
        groups=config.integer("n_group", 8),
        groups_used=config.integer("topk_group", 4),
    )
    made = latent_decoder(
        config, mixture, gguf=GGUF, neighbours=config.flag("rope_interleave", True)
    )
    return replace(made, beyond=frozenset({BIASED_CHOICE}))
