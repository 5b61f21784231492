"""The doors in: a model on disk or on the hub.

A `Checkpoint` is a decoder, described once as a `Decoder`; a `TaskModel` is known by its task and
by nothing of its inside.
"""

from edgepack.models.catalogue import CatalogueEntry
from edgepack.models.checkpoint import Checkpoint, open_checkpoint, read_decoder
from edgepack.models.decoder import Decoder, Weight
from edgepack.models.model import Model, is_task_model, open_model, read_task_shape
from edgepack.models.outline import Outline, Task
from edgepack.models.safetensors import TensorRef
from edgepack.models.source import Source
from edgepack.models.task import TaskModel
from edgepack.models.tokenizer import Tokenizer

__all__ = [
    "CatalogueEntry", "Checkpoint", "Decoder", "Model", "Outline", "Source", "Task", "TaskModel",
    "TensorRef", "Tokenizer", "Weight", "is_task_model", "open_checkpoint", "open_model",
    "read_decoder", "read_task_shape",
]  # fmt: skip
