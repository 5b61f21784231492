"""The doors in: a checkpoint on disk or on the hub, described once as a `Decoder`."""

from edgepack.models.checkpoint import Checkpoint, open_checkpoint, read_decoder
from edgepack.models.decoder import Decoder, Weight
from edgepack.models.safetensors import TensorRef
from edgepack.models.tokenizer import Tokenizer

__all__ = [
    "Checkpoint", "Decoder", "TensorRef", "Tokenizer", "Weight", "open_checkpoint", "read_decoder",
]  # fmt: skip
