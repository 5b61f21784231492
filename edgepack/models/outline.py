"""`Outline`: what config.json says of a model from outside: its task, and how large it is.

transformers' own names are read, whichever of several synonyms a config.json has; what lies
between input and output is the business of the program that exports the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from edgepack.errors import Unsupported
from edgepack.models import pooling
from edgepack.models.config import EXTENT_LIMIT, Config, read_json

Task = Literal[
    "feature-extraction",
    "text-classification",
    "token-classification",
    "question-answering",
    "fill-mask",
    "text2text-generation",
]

GENERATING: Final = "ForConditionalGeneration"
TASKS: Final[Mapping[str, Task]] = MappingProxyType(
    {
        "ForSequenceClassification": "text-classification",
        "ForTokenClassification": "token-classification",
        "ForQuestionAnswering": "question-answering",
        "ForMaskedLM": "fill-mask",
        GENERATING: "text2text-generation",
        "Model": "feature-extraction",
    }
)
"""The end of an architecture's name in transformers -> what optimum calls the task."""
WRITERS: Final = ("ForCausalLM", "LMHeadModel")  # decoders that edgepack does not know

WIDTH: Final = ("hidden_size", "d_model", "dim", "n_embd")
HEADS: Final = ("num_attention_heads", "num_heads", "n_heads", "encoder_attention_heads", "n_head")
INNER: Final = ("intermediate_size", "d_ff", "encoder_ffn_dim", "hidden_dim", "ffn_dim")
POSITIONS: Final = ("max_position_embeddings", "n_positions")
POSITIONS_UNSTATED: Final = 512  # relative positions have no end; models are trained up to here


@dataclass(frozen=True, slots=True)
class Outline:
    """`architecture` is config.json's model_type; `inner` the width of a feed-forward layer.

    `context_length` is the number of tokens it has positions for, and its tokenizer lets through.
    `pooling` is None where the checkpoint says nothing of one vector for a text. `labels` is the
    number of classes, for those that classify.
    """

    task: Task
    architecture: str
    vocabulary: int
    width: int
    heads: int
    inner: int
    context_length: int
    labels: int = 0
    pooling: pooling.Mode | None = None

    @property
    def generates(self) -> bool:
        """An encoder and a decoder: text in, text out."""
        return self.task == "text2text-generation"


def task_of(config: Config) -> Task | None:
    """The task that `architectures[0]` ends with, None where that is none of them."""
    name = architecture_of(config)
    if name.endswith(WRITERS):
        return None
    task = next((task for end, task in TASKS.items() if name.endswith(end)), None)
    if task and config.flag("is_encoder_decoder") is not name.endswith(GENERATING):
        return None
    return task


def architecture_of(config: Config) -> str:
    """The class that transformers loads, empty where config.json does not say."""
    named = config.values.get("architectures")
    first = named[0] if isinstance(named, list) and named else ""
    return first if isinstance(first, str) else ""


def read_outline(root: Path, config: Config) -> Outline:
    """The outline of the model in `root`, whose task is known.

    Raises Unsupported for a model that does not read text, or brings code of its own; DamagedInput
    for missing or impossible values.
    """
    task = task_of(config)
    assert task is not None, config.path
    if config.values.get("auto_map"):
        raise Unsupported(
            f"{config.path}: auto_map names code that comes with the checkpoint",
            "such code is never run; take a model whose architecture transformers has itself",
        )
    if config.values.get("vocab_size") is None:
        raise Unsupported(f"{config.path}: no vocab_size", "edgepack packs models that read text")
    if config.values.get("quantization_config"):
        raise Unsupported(
            f"{config.path}: the checkpoint is already quantized",
            "start from the full-precision checkpoint",
        )
    width = _first(config, WIDTH)
    return Outline(
        task=task,
        architecture=config.text("model_type"),
        vocabulary=config.integer("vocab_size"),
        width=width,
        heads=_first(config, HEADS),
        inner=_first(config, INNER, 4 * width),
        context_length=_context_length(root, config),
        labels=_labels(config) if "classification" in task else 0,
        pooling=pooling.read(root) if task == "feature-extraction" else None,
    )


def _first(config: Config, synonyms: tuple[str, ...], default: int | None = None) -> int:
    """The integer under the first of `synonyms` that config.json has."""
    key = next((key for key in synonyms if config.values.get(key) is not None), synonyms[0])
    return config.integer(key, default)


def _context_length(root: Path, config: Config) -> int:
    """Positions, or what the tokenizer lets through where that is less: some positions are kept
    for padding."""
    positions = _first(config, POSITIONS, POSITIONS_UNSTATED)
    path = root / "tokenizer_config.json"
    stated = read_json(path).get("model_max_length") if path.is_file() else None
    known = isinstance(stated, int) and 0 < stated < EXTENT_LIMIT
    return min(positions, int(stated)) if known and stated is not None else positions


def _labels(config: Config) -> int:
    """transformers' own rule: id2label decides, else num_labels, else two."""
    labels = config.section("id2label").values
    return len(labels) or config.integer("num_labels", 2)
