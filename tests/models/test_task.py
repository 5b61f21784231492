"""Models known by their task: what config.json and the files beside it say."""

import json

import numpy as np
import pytest

from edgepack import models
from edgepack.errors import DamagedInput, Missing, Unsupported, UsageError
from edgepack.models import TaskModel

CONFIG = {
    "architectures": ["BertModel"], "model_type": "bert", "vocab_size": 30, "hidden_size": 8,
    "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 64,
}  # fmt: skip
SEQ2SEQ = {
    "architectures": ["T5ForConditionalGeneration"], "model_type": "t5", "vocab_size": 30,
    "d_model": 8, "num_heads": 2, "d_ff": 16, "is_encoder_decoder": True,
}  # fmt: skip


def write(root, config=CONFIG, tokenizer=True, name="w", values=((0.0,) * 3,) * 2, **files):
    """A folder with one tensor, 2 x 3 unless given; `files` are names to JSON values."""
    root.mkdir(exist_ok=True)
    (root / "config.json").write_text(json.dumps(config))
    if tokenizer:
        (root / "tokenizer.json").write_text("{}")
    table = np.array(values, "<f4")
    tensor = {name: {"dtype": "F32", "shape": table.shape, "data_offsets": [0, table.nbytes]}}
    header = json.dumps(tensor).encode()
    data = len(header).to_bytes(8, "little") + header + table.tobytes()
    (root / "model.safetensors").write_bytes(data)
    for file, value in files.items():
        path = root / f"{file}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(value))
    return str(root)


def pooled(**modes):
    modules = [{"path": "", "type": "x.Transformer"}, {"path": "1_Pooling", "type": "x.Pooling"}]
    return {"modules": modules, "1_Pooling/config": {"word_embedding_dimension": 8, **modes}}


@pytest.mark.parametrize(
    ("architecture", "task"),
    [
        ("BertModel", "feature-extraction"),
        ("BertForSequenceClassification", "text-classification"),
        ("BertForTokenClassification", "token-classification"),
        ("BertForQuestionAnswering", "question-answering"),
        ("BertForMaskedLM", "fill-mask"),
    ],
)
def test_the_architectures_end_is_the_task(tmp_path, architecture, task):
    model = models.open_model(write(tmp_path / "m", {**CONFIG, "architectures": [architecture]}))
    assert isinstance(model, TaskModel)
    outline = model.outline
    assert (outline.task, outline.architecture) == (task, "bert")
    assert (model.parameters, model.vocabulary, model.context_length) == (6, 30, 64)
    assert outline.labels == (2 if "classification" in task else 0)


def test_synonyms_of_an_encoder_decoder(tmp_path):
    outline = models.open_model(write(tmp_path / "m", SEQ2SEQ)).outline
    assert outline.generates
    assert (outline.width, outline.heads, outline.inner) == (8, 2, 16)
    assert outline.context_length == 512


@pytest.mark.parametrize(
    "change",
    [
        {"architectures": ["GPTNeoForCausalLM"]},
        {"architectures": ["GPT2LMHeadModel"]},
        {"architectures": ["BertForPreTraining"]},
        {"architectures": ["T5Model"], "is_encoder_decoder": True},
        {"architectures": []},
        {"architectures": [3]},
        {"vocab_size": None},
        {"auto_map": {"AutoModel": "code.Model"}},
        {"quantization_config": {"quant_method": "awq"}},
    ],
)
def test_others_are_unsupported(tmp_path, change):
    with pytest.raises(Unsupported):
        models.open_model(write(tmp_path / "m", {**CONFIG, **change}))


def test_a_known_family_stays_a_decoder(reasoner):
    assert isinstance(models.open_model(str(reasoner)), models.Checkpoint)
    assert not models.is_task_model(str(reasoner))


def test_the_tokenizer_may_let_fewer_tokens_through(tmp_path):
    source = write(tmp_path / "m", tokenizer_config={"model_max_length": 62})
    assert models.open_model(source).context_length == 62
    source = write(tmp_path / "n", tokenizer_config={"model_max_length": 10**30})
    assert models.open_model(source).context_length == 64


@pytest.mark.parametrize(
    ("padding", "zero_row", "positions"), [(1, 1, 62), (0, None, 64), (1, None, 64), (None, 1, 64)]
)
def test_positions_may_be_counted_from_behind_the_padding(tmp_path, padding, zero_row, positions):
    """Where the padding has a row in the table it was never trained: RoBERTa's first is two on."""
    table = np.ones((64, 8))
    if zero_row is not None:
        table[zero_row] = 0
    config = {**CONFIG, "pad_token_id": padding}
    name = "embeddings.position_embeddings.weight"
    source = write(tmp_path / "m", config, name=name, values=table)
    assert models.open_model(source).context_length == positions


@pytest.mark.parametrize(
    ("modes", "found"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode_max_tokens": True}, "max"),
        ({"pooling_mode_weightedmean_tokens": True}, None),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}, None),
    ],
)
def test_pooling(tmp_path, modes, found):
    model = models.open_model(write(tmp_path / "m", **pooled(**modes)))
    assert model.outline.pooling == found
    names = [path.relative_to(model.root).as_posix() for path in model.companions]
    assert names == ["tokenizer.json", "modules.json", "1_Pooling/config.json"]


def test_a_layer_that_would_be_lost_is_named(tmp_path):
    files = pooled(pooling_mode_mean_tokens=True)
    files["modules"].append({"path": "2_Dense", "type": "sentence_transformers.models.Dense"})
    with pytest.raises(Unsupported, match="a Dense layer"):
        models.open_model(write(tmp_path / "m", **files))


def test_normalized_embeddings_are_packed(tmp_path):
    files = pooled(pooling_mode_mean_tokens=True)
    files["modules"].append({"path": "2_Normalize", "type": "x.y.Normalize"})
    assert models.open_model(write(tmp_path / "m", **files)).outline.pooling == "mean"


def test_a_layer_is_known_by_its_whole_name(tmp_path):
    modules = [{"path": "", "type": "x.Transformer"}, {"path": "1", "type": "x.ScalarPooling"}]
    with pytest.raises(Unsupported, match="a ScalarPooling layer"):
        models.open_model(write(tmp_path / "m", modules=modules))


@pytest.mark.parametrize("folder", ["../elsewhere", "/etc", "..", 3])
def test_pooling_never_leaves_the_folder(tmp_path, folder):
    modules = [{"path": folder, "type": "x.Pooling"}]
    (tmp_path / "config.json").write_text('{"pooling_mode_cls_token": true}')
    assert models.open_model(write(tmp_path / "m", modules=modules)).outline.pooling is None


def test_modules_must_be_objects(tmp_path):
    with pytest.raises(DamagedInput, match=r"modules\.json"):
        models.open_model(write(tmp_path / "m", modules=["x"]))


def test_without_tokenizer_json(tmp_path):
    with pytest.raises(Missing, match=r"tokenizer\.json"):
        models.open_model(write(tmp_path / "m", tokenizer=False))


def test_pickles_are_refused(tmp_path):
    source = write(tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").rename(tmp_path / "m" / "pytorch_model.bin")
    with pytest.raises(UsageError, match="pickled"):
        models.open_model(source)
