"""What every format offers. The house above knows formats by these Protocols alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgepack.errors import DamagedInput, Unsupported, UsageError
from edgepack.formats.artifact import Artifact
from edgepack.formats.importance import Importance
from edgepack.memory import DEFAULT_CONTEXT, Program
from edgepack.models import Checkpoint, Decoder, TaskModel, Weight
from edgepack.quant.encodings import Encoding
from edgepack.quant.schemes import Scheme, Schemes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgepack.models.safetensors import Stored

Progress = Callable[[int, int], None]  # elements done, elements in all


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked of an artifact's files beside their scheme.

    `context` is how many tokens the program makes room for, where the artifact says so;
    `importance` is for the formats whose searches weigh errors by column; `split_bytes` is the most
    that one file of a GGUF may have, None for one file whatever its size. `requantize` allows a
    GGUF to be made of one that is quantized already.
    """

    context: int = DEFAULT_CONTEXT
    importance: Importance | None = None
    split_bytes: int | None = None
    requantize: bool = False

    def check_whole(self, form: str) -> None:
        """Raises UsageError where files are to be split as only a GGUF is."""
        if self.split_bytes is not None:
            raise UsageError(
                f"--split-max-size was given for {form}", "it is for --to gguf: leave it out"
            )


DEFAULTS = Options()


class Rows(Protocol):
    """One tensor of a model, `rows` of `columns` weights, a vector being one row."""

    @property
    def name(self) -> str: ...

    @property
    def file(self) -> Path: ...

    @property
    def rows(self) -> int: ...

    @property
    def columns(self) -> int: ...

    def read_stored(self, start: int, stop: int) -> Stored:
        """Rows [start, stop) in a float type, bfloat16 as its bits. Raises DamagedInput."""
        ...


class Weights(Protocol):
    """A model whose weights can be read: a checkpoint, or an artifact taken for one.

    `stamps` are the state of its files when it was opened.
    """

    @property
    def name(self) -> str: ...

    @property
    def decoder(self) -> Decoder: ...

    @property
    def stamps(self) -> Mapping[Path, tuple[int, ...]]: ...

    def ref(self, weight: Weight) -> Rows:
        """Where `weight`, one that has a source, lies."""
        ...


def checkpoint_of(model: Weights, form: str) -> Checkpoint:
    """`model`, for the format `form`, which needs config.json and all. Raises Unsupported."""
    if not isinstance(model, Checkpoint):
        raise Unsupported(
            f"{model.name} is no checkpoint, and {form} is made of nothing else",
            "--to gguf takes it; give the checkpoint it came from for other formats",
        )
    return model


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """One file of an artifact: `size` bytes, of which `head` are the first; tensors follow."""

    name: str
    head: bytes
    size: int

    @classmethod
    def whole(cls, name: str, content: bytes) -> PlannedFile:
        """A file that is known already."""
        return cls(name, content, len(content))

    @classmethod
    def copy(cls, path: Path) -> PlannedFile:
        """The file at `path`, under its own name. Raises DamagedInput where it cannot be read."""
        try:
            return cls.whole(path.name, path.read_bytes())
        except OSError as error:
            raise DamagedInput(
                f"{path}: cannot be read: {error.strerror}", "the file must be readable"
            ) from error


@dataclass(frozen=True, slots=True)
class Piece:
    """Encoded bytes and where they go: `offset` in the plan's file number `file`."""

    file: int
    offset: int
    data: NDArray[Any]


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One weight as an artifact holds it, in `size` bytes of `encoding`, as read back from disk.

    `read(start, stop)` decodes rows [start, stop) into float32 [n, columns] in the model's own
    order, a vector being one row; `start` is a multiple of `multiple`. Raises DamagedInput.
    """

    weight: Weight
    encoding: str
    size: int
    read: Callable[[int, int], NDArray[np.float32]]
    multiple: int = 1


class Plan(Protocol):
    """All that is known of an artifact before a weight is read; then the encoder of its slabs."""

    @property
    def files(self) -> tuple[PlannedFile, ...]:
        """The first is the entry: what a runtime opens, and `Format.inspect` is given."""
        ...

    def encoding(self, weight: Weight) -> Encoding | None:
        """What `weight` is stored in; None for one that this format does not store."""
        ...

    def multiple(self, weight: Weight) -> int:
        """A slab of `weight` must have a multiple of this many rows."""
        ...

    def encode(self, weight: Weight, start: int, rows: NDArray[np.float32]) -> tuple[Piece, ...]:
        """Rows [start, start + n) of `weight`, float32 [n, columns], a vector being one row.

        Called once a slab, from several threads, in any order.
        """
        ...

    def derived(self) -> Iterator[tuple[Weight, int, NDArray[np.float32]]]:
        """What the format stores and no checkpoint does, such as tables of rotary angles.

        Slabs for `encode`: weight, first row, rows.
        """
        ...


class Exporter(Protocol):
    """What writes models that are known by their task, and not by their inside."""

    suffix: str  # of an entry

    @property
    def schemes(self) -> Schemes: ...

    @property
    def version(self) -> str:
        """Packages that have a part in it, and their versions."""
        ...

    def graphs(self, entry: Path) -> tuple[Path, ...]:
        """The files that a runtime loads of the artifact at `entry`, which is the first."""
        ...

    def require(self) -> None:
        """Raises Missing where what it needs is not installed."""
        ...

    def temporary(self, model: TaskModel, scheme: Scheme) -> int:
        """Bytes on the disk, more or less, beside the artifact's while it is written."""
        ...

    def write(self, model: TaskModel, scheme: Scheme, folder: Path, progress: Progress) -> Artifact:
        """The artifact, in the empty `folder`, described as read back."""
        ...


class Format(Protocol):
    """One on-disk format: what it would write, and reading back what lies there.

    `suffix` is that of the one file an artifact consists of, empty where it is a folder; `program`
    is what runs a decoder; `exporter` is None where a format holds decoders only. `knows` are the
    features (models/features) of decoders that it writes, and `made_by_others` whether files of
    other decoders exist that hold as many bytes under a scheme of the same name.
    """

    name: str
    suffix: str
    program: Program
    exporter: Exporter | None
    knows: frozenset[str]
    made_by_others: bool

    @property
    def schemes(self) -> Schemes: ...

    def cache_types(self, decoder: Decoder, scheme: Scheme) -> tuple[str, ...]:
        """The types of KV cache that `program` can keep; the first unless it is told otherwise."""
        ...

    def plan(self, model: Weights, scheme: Scheme, options: Options = DEFAULTS) -> Plan:
        """What the artifact will be; nothing is written and no weight is read.

        Raises Unsupported for what the format, or `program`, cannot express.
        """
        ...

    def inspect(self, path: Path) -> Artifact:
        """Describe the artifact whose entry is `path`, edgepack's or somebody else's.

        Raises DamagedInput.
        """
        ...

    def tensors(self, entry: Path, model: Weights) -> Iterator[StoredTensor]:
        """What the artifact at `entry` holds of every weight of `model`, whoever made it.

        Raises DamagedInput for a weight that is missing or has another shape, Unsupported for an
        encoding that cannot be decoded here.
        """
        ...

    def find(self, folder: Path) -> tuple[Path, ...]:
        """Entries of this format's artifacts that lie in `folder` itself."""
        ...

    def ours(self, folder: Path) -> frozenset[str]:
        """Names of the files in `folder` that edgepack wrote in this format, by their headers."""
        ...
