"""What is said of an exporter that fails, by doubles of the process it works in."""

import errno
import json
import signal
import sys

import numpy as np
import pytest

from edgepack import models
from edgepack.errors import DamagedInput, OutputError, Unsupported
from edgepack.formats.onnx import export, exported
from edgepack.quant.schemes.exported import F32

CONFIG = {
    "architectures": ["BertModel"], "model_type": "bert", "vocab_size": 30, "hidden_size": 8,
    "num_attention_heads": 2,
}  # fmt: skip


@pytest.fixture
def encoder(tmp_path):
    root = tmp_path / "encoder"
    root.mkdir()
    (root / "config.json").write_text(json.dumps(CONFIG))
    (root / "tokenizer.json").write_text("{}")
    header = b'{"w":{"dtype":"F32","shape":[30,8],"data_offsets":[0,960]}}'
    content = len(header).to_bytes(8, "little") + header + np.zeros(240, "<f4").tobytes()
    (root / "model.safetensors").write_bytes(content)
    return root


@pytest.fixture
def failure(encoder, tmp_path, monkeypatch):
    """`failure(code)`: what is raised, and all it says, where the exporter runs `code`."""

    def run(code):
        (tmp_path / "double.py").write_text(f"import os, sys\nprint('a log')\n{code}\n")
        monkeypatch.setattr(exported, "CHILD", "double")
        monkeypatch.setattr(exported.Exported, "require", lambda _: None)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        out = tmp_path / "out"
        out.mkdir()
        with pytest.raises((DamagedInput, OutputError, Unsupported)) as caught:
            exported.Exported().write(models.open_model(str(encoder)), F32, out, lambda *_: None)
        assert list(out.iterdir()) == []
        return caught.type, caught.value.message

    return run


@pytest.mark.parametrize(
    ("last", "kind", "told"),
    [
        ("damaged_input: w is missing", DamagedInput, "could not export it: w is missing"),
        ("unsupported: no such model", Unsupported, "could not export it: no such model"),
        ("ValueError: surprise", Unsupported, "could not export it: ValueError: surprise"),
        ("output: out: no space left", OutputError, "out: no space left"),
    ],
)
def test_the_last_line_is_the_error(failure, last, kind, told):
    found, message = failure(f"sys.exit({last!r})")
    assert found is kind
    assert message.endswith(told)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals")
def test_a_killed_exporter_is_said_to_be(failure):
    kind, message = failure(f"sys.stdout.flush(); os.kill(os.getpid(), {signal.SIGKILL:d})")
    assert kind is Unsupported
    assert message.endswith("killed by signal 9 (out of memory?)")


def test_a_full_disk_is_said_to_be(encoder, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(export, "export", full)
    with pytest.raises(OutputError, match="no space left on the device"):
        export.main(str(encoder), str(tmp_path), F32.name)


def test_a_full_disk_that_only_shows_in_what_is_read_back(encoder, tmp_path, monkeypatch):
    def damaged(*_):
        raise ValueError("wire format was corrupt")

    monkeypatch.setattr(export, "export", damaged)
    with pytest.raises(ValueError, match="corrupt"):
        export.main(str(encoder), str(tmp_path), F32.name)
    usage = type("Usage", (), {"free": 0})
    monkeypatch.setattr(export.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OutputError, match="no space left on the device"):
        export.main(str(encoder), str(tmp_path), F32.name)
