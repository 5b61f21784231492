"""A model known by its task, as transformers runs it: torch, float32, from safetensors alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from edgepack.errors import DamagedInput, Unsupported, missing_extra
from edgepack.models.outline import Outline, Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CLASSES: Final[Mapping[Task, str]] = MappingProxyType(
    {
        "feature-extraction": "AutoModel",
        "text-classification": "AutoModelForSequenceClassification",
        "token-classification": "AutoModelForTokenClassification",
        "question-answering": "AutoModelForQuestionAnswering",
        "fill-mask": "AutoModelForMaskedLM",
        "text2text-generation": "AutoModelForSeq2SeqLM",
    }
)
UNUSED: Final = "pooler."  # a head that hidden states do not depend on


def load(root: Path, outline: Outline) -> PreTrainedModel:
    """The model in `root`, ready to run. Nothing is fetched, and no code of the checkpoint's run.

    Raises Missing without the extra, Unsupported for an architecture that transformers does not
    have, or that reads no token ids; DamagedInput where weights are missing: transformers would
    take random ones.
    """
    try:
        import torch
        import transformers
    except ImportError as error:
        raise missing_extra(error.name or "transformers", "optimum") from error
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        model, info = getattr(transformers, CLASSES[outline.task]).from_pretrained(
            root,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
    except (ValueError, KeyError, OSError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Unsupported(
            f"{root}: transformers cannot load it: {reason}", "start from a model that it loads"
        ) from error
    missing = sorted(key for key in info["missing_keys"] if UNUSED not in key)
    if missing:
        raise DamagedInput(
            f"{root}: tensor {missing[0]!r} is missing",
            "config.json asks for it; fetch the weights again",
        )
    if model.main_input_name != "input_ids":
        raise Unsupported(
            f"{root}: it reads {model.main_input_name}", "edgepack packs models that read text"
        )
    loaded: PreTrainedModel = model.eval()
    return loaded
