"""The law of onnxruntime's second copies, against what a process really holds."""

import subprocess
import sys

import pytest

from edgepack.formats import named
from edgepack.memory import copied_bytes, weight_bytes
from edgepack.models import open_checkpoint
from edgepack.units import MIB

pytest.importorskip("onnxruntime")

LOADED = """
import sys
import onnxruntime


def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


before = resident()
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
print(1024 * (resident() - before))
"""


@pytest.fixture(scope="module")
def models(builder, tmp_path_factory):
    """Two of 26 M parameters, of which the head is 16 M, or two matrices of 8 M."""
    made = {}
    for tied in (True, False):
        made[tied] = open_checkpoint(
            str(
                builder.write(
                    tmp_path_factory.mktemp("model") / "m",
                    "qwen2",
                    tokenizer=builder.byte_level_tokenizer(290),
                    hidden_size=512,
                    intermediate_size=2048,
                    num_attention_heads=8,
                    vocab_size=32_000 if tied else 16_000,
                    tie_word_embeddings=tied,
                )
            )
        )
    return made


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("scheme", ["F32", "F16", "int8-g32", "int4-g32"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_what_is_held_is_what_the_law_says(models, written, tmp_path, tied, scheme):
    """Anonymous memory: pages of the file that are only mapped can be evicted."""
    form, checkpoint = named("onnx"), models[tied]
    chosen = form.schemes.scheme(scheme)
    artifact = written(form, checkpoint, chosen, tmp_path)
    arguments = [sys.executable, "-c", LOADED, str(artifact.entry(tmp_path))]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    decoder = checkpoint.decoder
    law = weight_bytes(decoder, chosen) + copied_bytes(decoder, chosen, form.program)
    assert int(done.stdout) == pytest.approx(law, abs=28 * MIB)
