"""What `pack` asks before it does any work."""

from pathlib import Path

import pytest

from edgepack.errors import Missing
from edgepack.fidelity import runtimes
from edgepack.pipeline import pack as verb
from edgepack.pipeline import quantize
from edgepack.pipeline.choice import Choice

REASONER = str(Path(__file__).parents[2] / "fixtures" / "reasoner")


@pytest.mark.parametrize("form", ["mlx", "onnx"])
def test_a_runtime_that_is_missing_is_told_before_anything_is_written(tmp_path, monkeypatch, form):
    monkeypatch.setattr(runtimes, "find_spec", lambda name: None)
    monkeypatch.setattr(quantize, "write", lambda *_: pytest.fail("written"))
    request = verb.PackRequest(REASONER, tmp_path / "out", Choice((form,), bits=4))
    with pytest.raises(Missing, match="is not installed") as caught:
        verb.pack(request)
    assert f"edgepack[{form}]" in caught.value.hint
    assert list(tmp_path.iterdir()) == []
