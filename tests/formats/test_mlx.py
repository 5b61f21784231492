"""MLX artifacts: the bytes and the config that mlx_lm.convert writes, cut and read back."""

from __future__ import annotations

import json
import shutil
import sys

import pytest

from edgepack import formats
from edgepack.errors import DamagedInput, Unsupported
from edgepack.formats.mlx import layout
from edgepack.models import open_checkpoint
from edgepack.models.safetensors import read_header, read_metadata

if sys.platform == "win32":
    pytest.skip("MLX has no wheels for Windows", allow_module_level=True)

MLX = formats.named("mlx")
SCHEMES = MLX.schemes
RECIPES = ("mixed_2_6", "mixed_3_4", "mixed_3_6", "mixed_4_6")
ADDED = {"rope_theta", "head_dim", "rms_norm_eps", "num_key_value_heads", "tie_word_embeddings"}


@pytest.fixture
def converted(tmp_path, capsys):
    """mlx_lm.convert's own folder: `converted(model, **options)`."""

    def convert(model, **options):
        import mlx_lm

        folder = tmp_path / "theirs"
        mlx_lm.convert(str(model), str(folder), quantize=True, **options)
        capsys.readouterr()
        return folder

    return convert


@pytest.fixture
def model(builder, tmp_path):
    """A tiny model with real group lengths: eight layers, untied, rows of 128 and 192."""
    shape = {"hidden_size": 128, "intermediate_size": 192, "num_hidden_layers": 8}
    return builder.write(tmp_path / "model", "qwen2", tie_word_embeddings=False, **shape)


def read(folder, name="config.json"):
    return json.loads((folder / name).read_text("utf-8"))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("4bit-g64", {"q_bits": 4, "q_group_size": 64}),
        ("3bit-g128", {"q_bits": 3, "q_group_size": 128}),
        ("mxfp4", {"q_mode": "mxfp4"}),
        *((recipe, {"quant_predicate": recipe, "q_group_size": 64}) for recipe in RECIPES),
    ],
)
def test_tensors_and_config_are_those_of_mlx_lm(written, converted, model, package, name, options):
    """With plain rounding; groups of 128 leave the 192 columns of down_proj in floats."""
    theirs = converted(model, **options)
    scheme = SCHEMES.scheme(name, plain=True)
    ours = written(MLX, open_checkpoint(str(model)), scheme, package)
    found = MLX.inspect(theirs / "config.json")
    assert ours.tensor_digest == found.tensor_digest
    assert ours.histogram == found.histogram
    assert ours.scheme == found.scheme == name
    mine, other = read(package), read(theirs)
    assert {k: v for k, v in mine.items() if k not in ADDED} == {
        k: v for k, v in other.items() if k not in ADDED
    }
    assert read(package, layout.INDEX) == read(theirs, layout.INDEX)


@pytest.mark.parametrize(
    ("stored", "stated"),
    [("F32", "bfloat16"), ("F16", "bfloat16"), ("BF16", "float16"), ("BF16", None)],
)
def test_the_models_own_type_is_cast_to_first(
    written, converted, builder, tmp_path, package, stored, stated
):
    """What config.json states counts, whatever the weights are stored in; else what they are."""
    model = builder.write(
        tmp_path / "model", "qwen2", hidden_size=128, dtype=stored, torch_dtype=stated
    )
    theirs = converted(model, q_bits=4, q_group_size=64)
    ours = written(MLX, open_checkpoint(str(model)), SCHEMES.at(4, plain=True), package)
    found = MLX.inspect(theirs / "config.json")
    assert ours.histogram == found.histogram
    assert ours.tensor_digest == found.tensor_digest


def test_what_mlx_lm_cannot_load_is_not_written(checkpoint):
    source = checkpoint("qwen3", attention_bias=True)
    with pytest.raises(Unsupported, match="normed heads and attention biases"):
        MLX.plan(source, SCHEMES.at(8, 32))


def test_a_scheme_that_quantizes_nothing_is_refused(checkpoint):
    with pytest.raises(Unsupported, match="4bit-g64 quantizes no weight") as caught:
        MLX.plan(checkpoint(hidden_size=32, intermediate_size=96), SCHEMES.at(4, 64))
    assert "--group 32" in caught.value.hint


def test_the_fixture_is_converted_as_mlx_lm_does(written, converted, reasoner, package):
    theirs = converted(reasoner, q_bits=4, q_group_size=64)
    plain = SCHEMES.at(4, 64, plain=True)
    ours = written(MLX, open_checkpoint(str(reasoner)), plain, package)
    assert ours.tensor_digest == MLX.inspect(theirs / "config.json").tensor_digest


def test_searching_changes_the_tensors_and_nothing_else(written, model, package):
    source, plain, search = open_checkpoint(str(model)), package / "plain", package / "search"
    artifacts = []
    for folder, is_plain in ((plain, True), (search, False)):
        folder.mkdir()
        artifacts.append(written(MLX, source, SCHEMES.at(4, plain=is_plain), folder))
    first, second = artifacts
    assert first.tensor_digest != second.tensor_digest
    assert (first.size, first.histogram) == (second.size, second.histogram)
    assert read(plain) == read(search)


@pytest.mark.parametrize("name", ["BF16", "F16", "F32"])
def test_floats_are_declared_and_stored(written, checkpoint, package, name):
    written(MLX, checkpoint(), SCHEMES.scheme(name), package)
    config = read(package)
    assert "quantization" not in config
    assert config["torch_dtype"] == {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}[name]
    assert {r.dtype for r in read_header(package / "model.safetensors").values()} == {name}


def test_what_mlx_lm_would_guess_is_stated(written, checkpoint, package):
    """mlx_lm reads no rope_parameters for this family, and takes 10^4 for its theta."""
    rope = {"rope_type": "linear", "factor": 2.0, "rope_theta": 500.0}
    source = checkpoint("mistral", rope_parameters=rope)
    edited(source.root, lambda values: values.pop("tie_word_embeddings"))
    written(MLX, source, SCHEMES.scheme("BF16"), package)
    config = read(package)
    assert config["rope_theta"] == 500.0
    assert config["rope_scaling"] == {"rope_type": "linear", "factor": 2.0}
    assert config["tie_word_embeddings"] is False


def test_llama3_scaling_is_that_of_the_checkpoint(written, checkpoint, package, builder):
    written(MLX, checkpoint("llama"), SCHEMES.scheme("BF16"), package)
    assert read(package)["rope_scaling"] == builder.LLAMA3_SCALING


def test_shards_are_those_of_mlx_lm(written, monkeypatch, model, package):
    """Cut at the same tensors; every tensor aligned to its items."""
    monkeypatch.setattr(layout, "SHARD_BYTES", 100_000)
    artifact = written(MLX, open_checkpoint(str(model)), SCHEMES.at(4), package)
    names = sorted(path.name for path in package.glob("model*.safetensors"))
    assert len(names) > 3
    assert names[0] == f"model-00001-of-{len(names):05d}.safetensors"
    weight_map = read(package, layout.INDEX)["weight_map"]
    assert set(weight_map.values()) == set(names)
    for name in names:
        refs = read_header(package / name).values()
        assert sum(ref.nbytes for ref in refs) <= 100_000
        assert all(ref.offset % {"U32": 4, "BF16": 2}[ref.dtype] == 0 for ref in refs)
        assert {ref.name for ref in refs} == {k for k, v in weight_map.items() if v == name}
    (package / "whole").mkdir()
    monkeypatch.undo()
    whole = written(MLX, open_checkpoint(str(model)), SCHEMES.at(4), package / "whole")
    assert whole.tensor_digest == artifact.tensor_digest


def test_files_of_the_tokenizer_come_along(written, builder, package, tmp_path):
    folder = builder.write(tmp_path / "source", "qwen2")
    extra = {"special_tokens_map.json": "{}", "chat_template.jinja": "{{ x }}", "notes.txt": "no"}
    for name, text in extra.items():
        (folder / name).write_text(text, "utf-8")
    artifact = written(MLX, open_checkpoint(str(folder)), SCHEMES.at(8, 32), package)
    names = {record.path for record in artifact.files}
    copied = {"tokenizer.json", "tokenizer_config.json", "generation_config.json"}
    assert names >= copied | {"special_tokens_map.json", "chat_template.jinja"}
    assert "notes.txt" not in names
    for name in copied:
        assert (package / name).read_bytes() == (folder / name).read_bytes()


def test_an_artifact_is_told_from_a_checkpoint(written, builder, package, tmp_path):
    folder = builder.write(tmp_path / "source", "qwen2")
    assert MLX.find(folder) == ()
    assert MLX.ours(folder) == frozenset()
    written(MLX, open_checkpoint(str(folder)), SCHEMES.at(4, 32), package)
    assert MLX.find(package) == (package / "config.json",)
    assert MLX.ours(package) >= {path.name for path in package.iterdir()}
    assert read_metadata(package / "model.safetensors")["format"] == "mlx"


def test_the_cache_is_of_the_models_type(checkpoint):
    decoder = checkpoint().decoder
    assert MLX.cache_types(decoder, SCHEMES.at(4)) == ("bf16",)
    assert MLX.cache_types(decoder, SCHEMES.scheme("F32")) == ("f32",)


@pytest.fixture
def artifact(written, checkpoint, package):
    written(MLX, checkpoint(hidden_size=64, intermediate_size=64), SCHEMES.at(4), package)
    return package


def edited(folder, change, name="config.json"):
    values = read(folder, name)
    change(values)
    (folder / name).write_text(json.dumps(values), "utf-8")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda c: c.pop("model_type"), "model_type"),
        (lambda c: c.pop("quantization"), "how many bits"),
        (lambda c: c.update(quantization=[4]), "not an object"),
        (lambda c: c["quantization"].update(bits=8), "which are not 8bit-g64"),
        (lambda c: c["quantization"].update(bits=7), "7 bits"),
        (lambda c: c["quantization"].update(bits="4"), "'?4'? bits"),
        (lambda c: c["quantization"].update(group_size=32), "which are not 4bit-g32"),
        (lambda c: c["quantization"].update(mode="nf4"), "'nf4'"),
        (lambda c: c["quantization"].update(mode="mxfp4", group_size=32), "lacks a plane"),
        (lambda c: c["quantization"].update({"model.norm": {"bits": 4}}), "has no scales"),
    ],
)
def test_a_config_that_does_not_fit_its_tensors(artifact, change, found):
    edited(artifact, change)
    with pytest.raises(DamagedInput, match=found) as caught:
        MLX.inspect(artifact / "config.json")
    assert str(artifact / "config.json") in caught.value.message


def rewritten(folder, change):
    """The weight file with its tensors changed: name -> array, all as MLX reads them."""
    import mlx.core as mx

    path = folder / "model.safetensors"
    tensors = dict(mx.load(str(path)))
    change(tensors)
    mx.eval(tensors)
    mx.save_safetensors(str(path), tensors, {"format": "mlx"})
    (folder / layout.INDEX).unlink()


EMBEDDING = "model.embed_tokens"


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda t: t.pop(f"{EMBEDDING}.scales"), "is U32 and has no scales"),
        (lambda t: t.pop(f"{EMBEDDING}.biases"), "lacks a plane"),
        (lambda t: t.pop(f"{EMBEDDING}.weight"), "lacks a plane"),
        (lambda t: t.update({f"{EMBEDDING}.biases": t["model.norm.weight"]}), "biases that differ"),
        (
            lambda t: t.update({f"{EMBEDDING}.weight": t[f"{EMBEDDING}.weight"][:, 1:]}),
            "which are not 4bit-g64",
        ),
        (
            lambda t: t.update({f"{EMBEDDING}.weight": t[f"{EMBEDDING}.weight"][1:]}),
            "which are not 4bit-g64",
        ),
        (
            lambda t: t.update({f"{EMBEDDING}.weight": t[f"{EMBEDDING}.scales"]}),
            "planes of BF16 and BF16",
        ),
    ],
)
def test_planes_that_do_not_fit_each_other(artifact, change, found):
    rewritten(artifact, change)
    with pytest.raises(DamagedInput, match=found):
        MLX.inspect(artifact / "config.json")


def test_files_that_are_missing_cut_or_named_wrongly(artifact, tmp_path):
    def broken(change, found):
        folder = tmp_path / "broken"
        shutil.copytree(artifact, folder)
        change(folder)
        with pytest.raises(DamagedInput, match=found):
            MLX.inspect(folder / "config.json")
        shutil.rmtree(folder)

    weights = "model.safetensors"
    broken(lambda f: (f / weights).unlink(), "there is no model")
    broken(
        lambda f: (f / weights).write_bytes((f / weights).read_bytes()[:-1]), "data bytes|end at"
    )
    broken(lambda f: shutil.copy(f / weights, f / "model-2.safetensors"), "is also in")
    broken(lambda f: (f / layout.INDEX).write_text("{}"), "not a shard index")
    broken(lambda f: edited(f, lambda i: i["weight_map"].popitem(), layout.INDEX), "does not name")


def test_floats_of_several_types_are_no_scheme(written, checkpoint, package):
    import mlx.core as mx

    written(MLX, checkpoint(), SCHEMES.scheme("BF16"), package)
    rewritten(package, lambda t: t.update({"model.norm.weight": mx.ones(32, mx.float32)}))
    found = MLX.inspect(package / "config.json")
    assert found.scheme == "unknown"
    assert {count.encoding: count.tensors for count in found.histogram} == {"BF16": 25, "F32": 1}


def test_a_mix_that_is_no_recipe_is_no_scheme(written, checkpoint, package):
    import mlx.core as mx

    source = checkpoint(hidden_size=64, intermediate_size=64)
    written(MLX, source, SCHEMES.at(4), package)
    planes = mx.quantize(mx.ones((290, 64), mx.bfloat16), 32, 8)
    names = [f"{EMBEDDING}.{suffix}" for suffix in ("weight", "scales", "biases")]
    rewritten(package, lambda t: t.update(zip(names, planes, strict=True)))
    own = {"bits": 8, "group_size": 32, "mode": "affine"}
    edited(package, lambda c: c["quantization"].update({EMBEDDING: own}))
    found = MLX.inspect(package / "config.json")
    assert found.scheme == "unknown"
    assert found.histogram[0].encoding in ("8bit-g32", "4bit-g64")
