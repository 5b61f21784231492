"""What a GGUF says of its memory, read back from keys and tensors."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from edgepack import memory
from edgepack.errors import DamagedInput, EdgepackError, Missing, Unsupported
from edgepack.formats.gguf.cursor import Cursor
from edgepack.formats.gguf.header import head as head_bytes
from edgepack.formats.gguf.hyperparameters import hyperparameters
from edgepack.formats.gguf.keys import Keys
from edgepack.formats.gguf.layout import ValueType
from edgepack.formats.gguf.reader import Array, Head
from edgepack.formats.gguf.shape import read_shape, shape
from edgepack.memory import Deployment
from edgepack.models import catalogue, families
from edgepack.models.config import Config
from edgepack.models.decoder import Weight
from edgepack.quant.schemes.gguf import scheme

GOLDEN = json.loads(
    (Path(__file__).parents[2] / "fixtures" / "golden" / "families.json").read_text("utf-8")
)
SETTINGS = (
    Deployment(4096),
    Deployment(777, slots=3),
    Deployment(4096, slots=4, unified=False, program="llama-server"),
    Deployment(2048, flash_attention=False, micro_batch=64),
)
CHANGES = {"llama4": {"attention_chunk_size": 8192}, "llama4_text": {"attention_chunk_size": 8192}}
"""llama.cpp has one size of chunk, and no key for it."""


def tiny(family, **changes):
    values = GOLDEN[family]["config"]
    if "text_config" in values:
        values = values | {"text_config": values["text_config"] | changes}
    else:
        values = values | changes
    return families.decoder(Config(Path("config.json"), values))


def stored(key, value):
    """As a head that was read has it."""
    if not isinstance(value, tuple):
        return value
    kind, code = (ValueType.BOOL, "?") if isinstance(value[0], bool) else (ValueType.UINT32, "I")
    return Array(Path("x"), key, kind, len(value), struct.pack(f"<{len(value)}{code}", *value))


def keys_of(decoder, **changes):
    """The keys that we write; one that is changed to None is left out."""
    architecture = decoder.gguf.architecture
    values = dict(hyperparameters(decoder))
    values |= {f"{architecture}.{key}": value for key, value in changes.items()}
    kept = {key: stored(key, value) for key, value in values.items() if value is not None}
    return Keys(Path("model.gguf"), Head(3, kept, {}, (), 0), architecture)


def needs(decoder):
    """What the memory law says of a decoder."""
    placed = tuple(
        (
            memory.kv_cache_bytes(decoder, setting),
            memory.state_bytes(decoder, setting),
            memory.compute_bytes(decoder, setting),
            memory.output_bytes(decoder, setting),
        )
        for setting in SETTINGS
    )
    return memory.cache_law(decoder), placed


def check_same(decoder, **changes):
    read = shape(keys_of(decoder, **changes), decoder.weights)
    assert needs(read) == needs(decoder)
    assert read.context_length == decoder.context_length
    assert read.tied_embeddings == decoder.tied_embeddings
    assert memory.active_parameters(read) == memory.active_parameters(decoder)
    assert read.parameters == decoder.parameters


@pytest.mark.parametrize("family", GOLDEN)
def test_what_is_written_of_a_tiny_model_is_read_back(family):
    check_same(tiny(family, **CHANGES.get(family, {})))


@pytest.mark.parametrize("name", catalogue.names())
def test_what_is_written_of_a_published_model_is_read_back(name):
    check_same(catalogue.entry(name).decoder)


def test_the_catalogue_has_every_architecture_with_windows_latents_and_states():
    named = {catalogue.entry(name).decoder.gguf.architecture for name in catalogue.names()}
    assert named >= {"gemma2", "gemma3", "gemma3n", "deepseek2", "qwen3next", "lfm2", "llama4"}


@pytest.mark.parametrize("family", ["gemma2", "gemma3_text", "cohere2", "gpt_oss", "olmo3"])
def test_a_file_without_a_pattern_has_its_architectures(family):
    """llama.cpp's converter writes none for these; their loaders know the period."""
    made = tiny(family, layer_types=None) if family != "gemma3_text" else None
    made = made or tiny(family, layer_types=None, _sliding_window_pattern=None)
    check_same(made, **{"attention.sliding_window_pattern": None})


def test_a_window_that_llama_cpp_leaves_unused_is_none():
    made = tiny("llama")
    read = shape(keys_of(made, **{"attention.sliding_window": 16}), made.weights)
    assert needs(read) == needs(made)


def test_a_head_size_that_is_not_stated_is_the_widths_share():
    made = tiny("llama")
    check_same(made, **{"attention.key_length": None, "attention.value_length": None})


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"block_count": 3}, DamagedInput, "beyond its 3 layers"),
        ({"block_count": 0}, DamagedInput, "block_count is 0"),
        ({"attention.head_count_kv": (2, 2, 2)}, DamagedInput, "4 of them"),
        ({"attention.head_count": 0}, DamagedInput, "no heads"),
        ({"attention.head_count": "4"}, DamagedInput, "head_count is '4'"),
        ({"attention.value_length": 4}, Unsupported, "those of V 4"),
        ({"context_length": None}, DamagedInput, "context_length is None"),
    ],
)
def test_keys_that_do_not_go_together(changes, error, said):
    made = tiny("llama")
    with pytest.raises(error) as caught:
        shape(keys_of(made, **changes), made.weights)
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("family", "role", "said"),
    [
        ("mixtral", "ffn_down_exps.weight", "no ffn_down_exps.weight"),
        ("llama", "token_embd.weight", "token_embd.weight has the shape []"),
    ],
)
def test_tensors_that_are_not_there(family, role, said):
    made = tiny(family)
    with pytest.raises(DamagedInput) as caught:
        shape(keys_of(made), [weight for weight in made.weights if weight.role != role])
    assert said in caught.value.message


def test_more_experts_used_than_there_are():
    made = tiny("mixtral")
    with pytest.raises(DamagedInput) as caught:
        shape(keys_of(made, expert_used_count=5), made.weights)
    assert "from 1 to 4" in caught.value.message
    flat = [
        replace(weight, shape=weight.shape[:2]) if weight.role == "ffn_down_exps.weight" else weight
        for weight in made.weights
    ]
    with pytest.raises(DamagedInput) as caught:
        shape(keys_of(made), flat)
    assert "three are required" in caught.value.message


@pytest.fixture(scope="module")
def sparse(tmp_path_factory):
    """`sparse(decoder, scheme)`: a file that is all header and holes."""

    def write(decoder, stored_as, **changes):
        path = tmp_path_factory.mktemp("sparse") / f"model-{stored_as}.gguf"
        assigned = scheme(stored_as).assign(decoder)
        values = {
            "general.architecture": decoder.gguf.architecture,
            **dict(hyperparameters(decoder)),
            **changes,
        }
        written = head_bytes(values, assigned)
        path.write_bytes(written)
        with path.open("r+b") as file:
            file.truncate(len(written) + sum(-(-a.stored_bytes // 32) * 32 for a in assigned))
        return path

    return write


@pytest.mark.parametrize("family", ["mixtral", "gemma2", "deepseek_v3", "granitemoehybrid"])
def test_a_file_as_it_lies_on_disk(sparse, family):
    made = tiny(family)
    path = sparse(made, "F16", **{"general.file_type": 1})
    found = read_shape(path)
    assert (found.name, found.scheme.name, found.scheme.bits) == ("model", "F16", 16)
    assert needs(found.decoder) == needs(made)
    assert memory.weight_bytes(found.decoder, found.scheme) == memory.weight_bytes(
        made, scheme("F16")
    )


def test_the_head_is_all_that_is_read(sparse, monkeypatch):
    """Of 40 GB, which are holes here, a few hundred KB."""
    made = catalogue.entry("llama-3.1-70b").decoder
    path = sparse(made, "Q4_K_M")
    taken = []
    take = Cursor.take
    monkeypatch.setattr(Cursor, "take", lambda self, n: taken.append(n) or take(self, n))
    found = read_shape(path)
    assert memory.weight_bytes(found.decoder, found.scheme) > 40 * 10**9
    assert 0 < sum(taken) < 1 << 20


def test_a_file_that_does_not_name_its_scheme_is_called_by_its_commonest_type(sparse):
    found = read_shape(sparse(tiny("mixtral"), "BF16"))
    assert (found.scheme.name, found.scheme.bits) == ("BF16", 16)


def test_an_unknown_architecture_is_named(sparse):
    made = tiny("llama")
    made = replace(made, gguf=replace(made.gguf, architecture="mamba"))
    with pytest.raises(Unsupported) as caught:
        read_shape(sparse(made, "F16"))
    assert "its architecture is mamba" in caught.value.message
    assert "qwen3" in caught.value.hint
    assert caught.value.exit_code == 1


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(Missing):
        read_shape(tmp_path / "no.gguf")


def test_what_llama_cpp_quantized_has_its_own_bytes(reasoner, written, llama_quantize, tmp_path):
    """Q4_K_M by llama.cpp itself: our law of the scheme, and the file, agree to the byte."""
    from edgepack import formats
    from edgepack.models import open_checkpoint

    checkpoint = open_checkpoint(str(reasoner))
    artifact = written(formats.named("gguf"), checkpoint, scheme("F16"), tmp_path)
    target = tmp_path / "theirs.gguf"
    llama_quantize(artifact.entry(tmp_path), target, 15)
    found = read_shape(target)
    assert found.scheme.name == "Q4_K_M"
    assert memory.weight_bytes(found.decoder, found.scheme) == memory.weight_bytes(
        checkpoint.decoder, scheme("Q4_K_M")
    )
    assert needs(found.decoder) == needs(checkpoint.decoder)


def test_errors_are_edgepacks_own():
    """Whatever the tensors are called."""
    made = tiny("mixtral")
    for name in ("ffn_up_exps.weight", "attn_output.weight", "ssm_conv1d.weight"):
        odd = Weight(name, 0, (1,), name)
        others = [w for w in made.weights if (w.role, w.layer) != (name, 0)]
        try:
            shape(keys_of(made), [*others, odd])
        except EdgepackError as error:
            assert error.message
