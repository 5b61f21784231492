"""What families have in common: each takes from here what it is made of.

layout     the frame of a Decoder: vocabulary, width, norms, layers in order
parts      weights of attention and feed-forward, by their names in the checkpoint
dense      the plainest decoder, whole
sparse     mixtures of experts
latent     multi-head latent attention
recurrent  state in place of attention
rotary     rotary embeddings, however config.json spells them
keys       which keys of config.json a family read: what it did not understand is refused
"""
