"""Which kind of model a source holds: a decoder of a known family, or one known by its task."""

from __future__ import annotations

from edgepack.models import families, hub
from edgepack.models.checkpoint import Checkpoint, read_checkpoint
from edgepack.models.config import Config
from edgepack.models.outline import task_of
from edgepack.models.source import CONFIG, catalogued, locate
from edgepack.models.task import TaskModel, read_task_model

Model = Checkpoint | TaskModel


def open_model(source: str) -> Model:
    """Open a folder, a `.safetensors` file in one, or a hub id `org/name[@revision]`.

    Reads headers only. Raises Missing, UsageError, Unsupported or DamagedInput.
    """
    root, name, revision = locate(source, weights=True)
    if has_task(Config.read(root / CONFIG)):
        return read_task_model(root, name, revision)
    return read_checkpoint(root, name, revision)


def read_task_shape(source: str) -> TaskModel:
    """A model known by its task, without its weights where those would have to be fetched.

    Raises as `open_model` does.
    """
    root, name, revision = locate(source, weights=False)
    remote = None
    if revision is not None:
        hub.fetch_beside(name, revision)
        remote = hub.tensor_refs(name, revision, root)
    if remote is None:
        root, name, revision = locate(source, weights=True)
    return read_task_model(root, name, revision, remote)


def is_task_model(source: str) -> bool:
    """Whether `source` is one, from its config.json alone: no weights are fetched."""
    if catalogued(source):
        return False
    root, _, _ = locate(source, weights=False)
    return has_task(Config.read(root / CONFIG))


def has_task(config: Config) -> bool:
    """A known family is a decoder whatever its architecture is called."""
    known = config.text("model_type", "") in families.known()
    return not known and task_of(config) is not None
