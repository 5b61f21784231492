"""What lies in the folder of an exported model: its graphs, and what a client needs beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from edgepack.models import Outline, pooling
from edgepack.models.source import CONFIG, SIDE_FILES
from edgepack.models.task import SENTENCE_FILES

EXPORT: Final = ".edgepack-export-"  # how the names of folders begin in which an exporter works
ENCODER, DECODER, WHOLE = "encoder_model.onnx", "decoder_model.onnx", "model.onnx"
NAMES: Final = (CONFIG, *SIDE_FILES, pooling.MODULES, *SENTENCE_FILES)


def graph_names(outline: Outline) -> tuple[str, ...]:
    """The graphs, under the names that optimum and its clients have for them; entry first."""
    return (ENCODER, DECODER) if outline.generates else (WHOLE,)


def graphs_at(entry: Path) -> tuple[Path, ...]:
    """The graphs of the artifact whose entry is `entry`: an encoder has a decoder beside it."""
    decoder = entry.with_name(DECODER)
    return (entry, decoder) if entry.name == ENCODER and decoder.is_file() else (entry,)


def side_files(folder: Path) -> tuple[Path, ...]:
    """config.json, tokenizer and pooling, in a checkpoint as in an artifact."""
    found = tuple(path for name in NAMES if (path := folder / name).is_file())
    layer = pooling.file(folder) if (folder / pooling.MODULES).is_file() else None
    return (*found, *((layer,) if layer else ()))
