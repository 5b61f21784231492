"""The stop token is found wherever a checkpoint states it."""

import json
import shutil
from pathlib import Path

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
