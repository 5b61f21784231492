"""DeepSeek-V2, V2-Lite and V2.5."""

from edgepack.models.config import Config
from edgepack.models.decoder import Decoder, Experts, GgufNaming
from edgepack.models.families.shared.latent import latent_decoder
from edgepack.models.families.shared.layout import MOST_EXPERTS, bounded, fixed

GGUF = GgufNaming("deepseek2")


def decoder(config: Config) -> Decoder:
    fixed(config, scoring_func="softmax", norm_topk_prob=False)
    config.require("topk_method", ("greedy", "group_limited_greedy"), "greedy")
    groups = config.optional_integer("n_group") or 1, config.optional_integer("topk_group") or 1
    if config.text("topk_method", "greedy") == "greedy":
        groups = 1, 1
    mixture = Experts(
        bounded(config, "n_routed_experts", MOST_EXPERTS),
        config.integer("num_experts_per_tok"),
        config.integer("moe_intermediate_size"),
        normalised=False,
        scale=config.number("routed_scaling_factor", 1.0),
        groups=groups[0],
        groups_used=groups[1],
    )
    return latent_decoder(config, mixture, gguf=GGUF)
