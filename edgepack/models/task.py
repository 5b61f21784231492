"""`TaskModel`: a model known by its task, opened by headers alone; others know its inside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

from edgepack.errors import Missing
from edgepack.models import pooling, positions
from edgepack.models.config import Config
from edgepack.models.outline import Outline, read_outline
from edgepack.models.safetensors import TensorRef
from edgepack.models.source import CONFIG, Source, read_shards, stamp

SENTENCE_FILES = ("sentence_bert_config.json", "config_sentence_transformers.json")


@dataclass(frozen=True, kw_only=True)
class TaskModel(Source):
    """An encoder, or an encoder and a decoder, on disk."""

    outline: Outline

    @property
    def architecture(self) -> str:
        return self.outline.architecture

    @property
    def parameters(self) -> int:
        return sum(prod(ref.shape) for ref in self.tensors.values())

    @property
    def vocabulary(self) -> int:
        return self.outline.vocabulary

    @property
    def context_length(self) -> int:
        return self.outline.context_length

    @property
    def companions(self) -> tuple[Path, ...]:
        """Tokenizer and generation settings, and what sentence-transformers has beside a model."""
        names = (pooling.MODULES, *SENTENCE_FILES)
        found = tuple(path for name in names if (path := self.root / name).is_file())
        layer = pooling.file(self.root)
        return (*super().companions, *found, *((layer,) if layer else ()))


def read_task_model(
    root: Path,
    name: str,
    revision: str | None,
    remote: Mapping[str, TensorRef] | None = None,
) -> TaskModel:
    """The model in the folder `root`, whose task is known.

    `remote` are its tensors where no weight was fetched: what weights tell of positions is then not
    asked. Raises Missing without weights or tokenizer.json, and as `read_outline` and `read_shards`
    do.
    """
    config = Config.read(root / CONFIG)
    outline = read_outline(root, config)
    if not (root / "tokenizer.json").is_file():
        raise Missing(
            f"{root}: no tokenizer.json",
            "save the tokenizer in its fast form: AutoTokenizer.from_pretrained(MODEL)"
            ".save_pretrained(MODEL)",
        )
    shards, tensors = ((), remote) if remote else read_shards(root)
    if not remote:
        usable = positions.usable(tensors, config.values.get("pad_token_id"))
        longest = min(outline.context_length, usable or outline.context_length)
        outline = replace(outline, context_length=longest)
    return TaskModel(
        root=root,
        name=name,
        revision=revision,
        shards=shards,
        tensors=tensors,
        stamps={path: stamp(path) for path in shards},
        outline=outline,
    )
