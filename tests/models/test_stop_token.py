"""The stop token is found wherever a checkpoint states it."""

import json
import shutil
from pathlib import Path

import pytest

from edgepack.errors import DamagedInput
from edgepack.models import open_checkpoint

REASONER = Path(__file__).parents[2] / "fixtures" / "reasoner"


def test_an_eos_that_only_config_json_states(tmp_path):
    shutil.copytree(REASONER, tmp_path / "model")
    (tmp_path / "model" / "generation_config.json").unlink()
    path = tmp_path / "model" / "tokenizer_config.json"
    config = json.loads(path.read_text())
    del config["eos_token"]
    path.write_text(json.dumps(config))
    assert open_checkpoint(str(tmp_path / "model")).tokenizer.eos_id == 2


def test_a_lone_surrogate_is_an_error_of_ours():
    tokenizer = open_checkpoint(str(REASONER)).tokenizer
    with pytest.raises(DamagedInput, match="not Unicode"):
        tokenizer.encode("a \ud800 b")
