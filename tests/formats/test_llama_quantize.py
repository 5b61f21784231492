"""The trained fixture, quantized by llama.cpp itself and by us: the same tensors, bit for bit."""

from pathlib import Path

import pytest

from edgepack import formats
from edgepack.models import open_checkpoint
from edgepack.quant.schemes.gguf import FAITHFUL, scheme

REASONER = Path(__file__).parents[2] / "fixtures" / "reasoner"
FTYPES = {
    "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10, "Q3_K_S": 11,
    "Q3_K_M": 12, "Q3_K_L": 13, "Q4_K_S": 14, "Q4_K_M": 15, "Q5_K_S": 16, "Q5_K_M": 17, "Q6_K": 18,
}  # fmt: skip  # llama.h, enum llama_ftype


@pytest.fixture(scope="module")
def checkpoint():
    return open_checkpoint(str(REASONER))


@pytest.fixture(scope="module")
def full_precision(written, checkpoint, tmp_path_factory):
    """Our own conversion, which llama.cpp takes as its source."""
    folder = tmp_path_factory.mktemp("f32")
    artifact = written(formats.named("gguf"), checkpoint, scheme("F32"), folder)
    return artifact.entry(folder)


def test_every_quantized_scheme_is_compared():
    assert {s.name for s in FAITHFUL} - set(FTYPES) == {"F32", "F16", "BF16"}


@pytest.mark.oracle
@pytest.mark.parametrize("name", FTYPES)
def test_tensors_are_those_of_llama_quantize(written, checkpoint, full_precision, tmp_path, name):
    llama = pytest.importorskip("cyllama.llama.llama_cpp")
    gguf = formats.named("gguf")
    ours = written(gguf, checkpoint, scheme(name), tmp_path)
    parameters = llama.LlamaModelQuantizeParams()
    parameters.ftype = FTYPES[name]
    llama.model_quantize(str(full_precision), str(tmp_path / "theirs.gguf"), parameters)
    theirs = gguf.inspect(tmp_path / "theirs.gguf")
    assert ours.histogram == theirs.histogram
    assert ours.tensor_digest == theirs.tensor_digest
