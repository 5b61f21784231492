"""The trained fixture, quantized by llama.cpp itself and by us: the same tensors, bit for bit."""

from pathlib import Path

import numpy as np
import pytest

from edgepack import formats
from edgepack.formats import Options
from edgepack.formats.gguf.imatrix import read_importance
from edgepack.formats.gguf.metadata import FILE_TYPES
from edgepack.formats.gguf.reader import read_head
from edgepack.models import open_checkpoint
from edgepack.quant.schemes.gguf import SCHEMES, scheme
from edgepack.quant.schemes.mix import overridden
from edgepack.quant.schemes.overrides import NONE, overrides

REASONER = Path(__file__).parents[2] / "fixtures" / "reasoner"
UNQUANTIZED = {"F32", "F16", "BF16"}
MEASURED = [name for name in SCHEMES if name not in UNQUANTIZED]
UNMEASURED = [
    name for name in MEASURED if name != "Q2_K_S" and not name.startswith(("IQ1", "IQ2", "IQ3"))
]


@pytest.fixture(scope="module")
def checkpoint():
    return open_checkpoint(str(REASONER))


@pytest.fixture(scope="module")
def full_precision(written, checkpoint, tmp_path_factory):
    """Our own conversion, which llama.cpp takes as its source."""
    folder = tmp_path_factory.mktemp("f32")
    artifact = written(formats.named("gguf"), checkpoint, scheme("F32"), folder)
    return artifact.entry(folder)


@pytest.fixture(scope="module")
def importance(checkpoint, imatrix_file, tmp_path_factory):
    """A matrix of the fixture's shapes, made up, read from a file."""
    random = np.random.default_rng(5)
    sums = {
        weight.name: (random.random(weight.shape[-1]) ** 4 * 700).astype(np.float32)
        for weight in checkpoint.decoder.weights
        if weight.layer is not None and len(weight.shape) == 2
    }
    return read_importance(imatrix_file(tmp_path_factory.mktemp("imatrix"), sums, count=24))


def test_the_numbers_of_file_types_are_llama_cpps():
    gguf = pytest.importorskip("gguf")
    assert set(FILE_TYPES) == set(SCHEMES)
    for name, number in FILE_TYPES.items():
        assert gguf.LlamaFileType["ALL_F32" if name == "F32" else f"MOSTLY_{name}"] == number


@pytest.fixture
def compare(written, checkpoint, full_precision, llama_quantize, tmp_path):
    """Write `chosen` here and there: one digest of all tensors, one file type, one histogram."""

    def check(chosen, options=formats.DEFAULTS, **settings):
        gguf = formats.named("gguf")
        ours = written(gguf, checkpoint, chosen, tmp_path, options=options)
        target = tmp_path / "theirs.gguf"
        llama_quantize(full_precision, target, FILE_TYPES[chosen.mix], **settings)
        theirs = gguf.inspect(target)
        assert ours.histogram == theirs.histogram
        assert ours.tensor_digest == theirs.tensor_digest
        assert theirs.scheme == chosen.mix
        assert ours.scheme == chosen.name
        return read_head(ours.entry(tmp_path)).values

    return check


@pytest.mark.oracle
@pytest.mark.parametrize("name", UNMEASURED)
def test_tensors_are_those_of_llama_quantize(compare, name):
    compare(scheme(name))


@pytest.mark.oracle
@pytest.mark.parametrize("name", MEASURED)
def test_with_a_matrix_of_importance(compare, importance, name):
    """Rows of Q and K are reordered here, and columns keep their importance."""
    if name.startswith(("IQ1", "IQ2", "IQ3")):
        pytest.importorskip("libggml")
    chosen = overridden(scheme(name), NONE, measured=True)
    values = compare(chosen, Options(importance=importance), imatrix=dict(importance.columns))
    assert values["quantize.imatrix.file"] == importance.path.name
    assert values["quantize.imatrix.dataset"] == "made up"
    assert values["quantize.imatrix.entries_count"] == len(importance.columns)
    assert values["quantize.imatrix.chunks_count"] == 3


@pytest.mark.oracle
def test_overrides(compare):
    asked = overrides(["ffn_down=Q8_0", r"blk\.0\..*_v=F16"], "Q5_K")
    values = compare(
        overridden(scheme("Q4_K_M"), asked),
        tensors=[("ffn_down", 8), (r"blk\.0\..*_v", 1)],
        output_tensor_type=13,
    )
    assert values["quantize.overrides"] == str(asked)
