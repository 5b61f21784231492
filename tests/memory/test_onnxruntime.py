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


def held():
    with open("/proc/self/status") as status:
        return next(1024 * int(line.split()[1]) for line in status if line.startswith("RssAnon"))


before = held()
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
print(held() - before)
"""
SESSION, EMBEDDING = 20 * MIB, "token_embd.weight"


@pytest.fixture(scope="module")
def models(builder, tmp_path_factory):
    """Of 65 M parameters in the embedding, which is the head too; or half as many in each."""
    made = {}
    for tied in (True, False):
        made[tied] = open_checkpoint(
            str(
                builder.write(
                    tmp_path_factory.mktemp("model") / "m",
                    "qwen2",
                    tokenizer=builder.byte_level_tokenizer(290),
                    hidden_size=1024,
                    intermediate_size=1024,
                    num_attention_heads=16,
                    vocab_size=64_000 if tied else 32_000,
                    tie_word_embeddings=tied,
                )
            )
        )
    return made


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("scheme", ["F32", "F16", "int8-g32", "int4-g32"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_what_is_held_is_what_the_law_says(models, written, tmp_path, tied, scheme):
    """Anonymous memory: mapped pages of a file can be evicted.

    Rows of a float embedding are looked up where the file is mapped, and are counted all the same.
    The smallest copy here, of a tied embedding in 4 bits, is 39 MiB: more than the tolerance.
    """
    form, checkpoint = named("onnx"), models[tied]
    chosen = form.schemes.scheme(scheme)
    artifact = written(form, checkpoint, chosen, tmp_path)
    arguments = [sys.executable, "-c", LOADED, str(artifact.entry(tmp_path))]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    decoder = checkpoint.decoder
    law = weight_bytes(decoder, chosen) + copied_bytes(decoder, chosen, form.program)
    if scheme in ("F32", "F16"):
        law -= next(a for a in chosen.assign(decoder) if a.weight.role == EMBEDDING).stored_bytes
    assert int(done.stdout) == pytest.approx(law + SESSION, abs=28 * MIB)
