"""A folder becomes a Checkpoint, or one error names what is wrong with it."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from edgepack.errors import DamagedInput, Missing, Unsupported, UsageError
from edgepack.models import open_checkpoint, read_decoder

INDEX = "model.safetensors.index.json"


@pytest.fixture
def whole(builder, tmp_path):
    return builder.write(tmp_path / "whole", "qwen3")


@pytest.fixture
def sharded(builder, tmp_path):
    return builder.write(tmp_path / "sharded", "qwen3", shards=3)


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3"])
def test_every_weight_is_where_the_decoder_says(builder, tmp_path, family):
    tensors = builder.weights(builder.config(family))
    folder = builder.write(tmp_path / family, family, tensors=tensors, dtype="F32")
    checkpoint = open_checkpoint(str(folder))
    assert (checkpoint.name, checkpoint.revision, checkpoint.skipped) == (family, None, ())
    for weight in checkpoint.decoder.weights:
        if weight.source:
            np.testing.assert_array_equal(checkpoint.ref(weight).read(), tensors[weight.source])


def test_shards_make_the_same_checkpoint(builder, tmp_path, whole, sharded):
    one, three = open_checkpoint(str(whole)), open_checkpoint(str(sharded))
    assert [path.name for path in three.shards] == [
        f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)
    ]
    assert one.decoder == three.decoder
    for name, ref in one.tensors.items():
        np.testing.assert_array_equal(ref.read(), three.tensors[name].read())


def test_shards_without_an_index(sharded):
    (sharded / INDEX).unlink()
    assert len(open_checkpoint(str(sharded)).shards) == 3


def test_a_weight_file_opens_its_folder(whole):
    assert open_checkpoint(str(whole / "model.safetensors")).root == whole.resolve()


@pytest.fixture
def snapshot(whole, tmp_path):
    """A folder as the hub's cache keeps it: links into ../../blobs, named by digest."""
    folder, blobs = tmp_path / "cache" / "snapshots" / "abc", tmp_path / "cache" / "blobs"
    folder.mkdir(parents=True)
    blobs.mkdir()
    for number, path in enumerate(sorted(whole.iterdir())):
        shutil.move(path, blobs / str(number))
        (folder / path.name).symlink_to(Path("../../blobs", str(number)))
    return folder


def test_a_cache_of_links_is_a_checkpoint(snapshot):
    checkpoint = open_checkpoint(str(snapshot))
    assert checkpoint.shards[0].name == "model.safetensors"
    assert checkpoint.tokenizer.chat_template
    assert open_checkpoint(str(snapshot / "model.safetensors")).root == snapshot


def test_a_link_to_nothing(snapshot):
    (snapshot / "model.safetensors").resolve().unlink()
    with pytest.raises(DamagedInput, match=r"model\.safetensors"):
        open_checkpoint(str(snapshot))


def test_the_sources_are_listed_and_digested(whole):
    (whole / "chat_template.jinja").write_text("{{ 1 }}")
    (whole / "README.md").write_text("not a source")
    digests = {path.name: digest for path, digest in open_checkpoint(str(whole)).digests()}
    assert set(digests) == {
        "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
        "chat_template.jinja", "model.safetensors",
    }  # fmt: skip
    content = (whole / "model.safetensors").read_bytes()
    assert digests["model.safetensors"] == f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_the_shape_needs_config_json_alone(whole):
    for path in whole.iterdir():
        if path.name != "config.json":
            path.unlink()
    name, decoder = read_decoder(str(whole))
    assert (name, decoder.width) == ("whole", 32)
    with pytest.raises(Missing, match=r"no \.safetensors files"):
        open_checkpoint(str(whole))


def test_not_a_checkpoint(tmp_path):
    with pytest.raises(UsageError, match=r"there is no config\.json") as caught:
        open_checkpoint(str(tmp_path))
    assert caught.value.exit_code == 2
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UsageError, match="not a checkpoint"):
        open_checkpoint(str(tmp_path / "notes.txt"))


@pytest.mark.parametrize(
    "source",
    ["./nowhere", "model.safetensors", "./org/name", "/nowhere/at/all", "~/no/such", "a/b/c"],
)
def test_no_such_folder(source):
    with pytest.raises(Missing, match="no such folder"):
        open_checkpoint(source)


class Bomb:
    """Unpickled, it would leave a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_pickled_weights_are_refused_unread(whole, tmp_path):
    trap = tmp_path / "trap"
    (whole / "model.safetensors").unlink()
    (whole / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(trap)))
    with pytest.raises(UsageError, match=r"pickled \(pytorch_model\.bin\)") as caught:
        open_checkpoint(str(whole))
    assert caught.value.exit_code == 2
    assert not trap.exists()


def test_pickled_weights_beside_safetensors_are_not_touched(whole, tmp_path):
    trap = tmp_path / "trap"
    (whole / "training.pt").write_bytes(pickle.dumps(Bomb(trap)))
    assert [path.name for path in open_checkpoint(str(whole)).files if "pt" in path.suffix] == []
    assert not trap.exists()


def test_a_missing_shard(sharded):
    (sharded / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(Missing, match="00002-of-00003") as caught:
        open_checkpoint(str(sharded))
    assert caught.value.exit_code == 6


def edit_index(folder, change):
    index = json.loads((folder / INDEX).read_text())
    change(index["weight_map"])
    (folder / INDEX).write_text(json.dumps(index))


@pytest.mark.parametrize("shard", ["../model.safetensors", "/tmp/model.safetensors"])
def test_a_shard_outside_the_folder(sharded, shard):
    edit_index(sharded, lambda weight_map: weight_map.update({"lm_head.weight": shard}))
    with pytest.raises(DamagedInput, match=r"plain \.safetensors file name"):
        open_checkpoint(str(sharded))


def test_an_index_that_disagrees_with_its_shards(sharded):
    shards = sorted(path.name for path in sharded.glob("*.safetensors"))

    def rotate(weight_map):
        name = next(iter(weight_map))
        weight_map[name] = next(shard for shard in shards if shard != weight_map[name])

    edit_index(sharded, rotate)
    with pytest.raises(DamagedInput, match="is not in model-"):
        open_checkpoint(str(sharded))


def test_an_index_that_names_a_tensor_nowhere(sharded):
    edit_index(sharded, lambda weight_map: weight_map.update(ghost=next(iter(weight_map.values()))))
    with pytest.raises(DamagedInput, match="'ghost' is not in"):
        open_checkpoint(str(sharded))


@pytest.mark.parametrize("name", ["consolidated.safetensors", "adapter_model.safetensors"])
def test_weights_of_another_layout_are_not_the_model(whole, name):
    (whole / name).write_bytes(b"never read")
    assert [path.name for path in open_checkpoint(str(whole)).shards] == ["model.safetensors"]


def test_one_tensor_in_two_files(whole):
    shutil.copy(whole / "model.safetensors", whole / "copy.safetensors")
    with pytest.raises(DamagedInput, match=r"is also in copy\.safetensors"):
        open_checkpoint(str(whole))


@pytest.fixture
def rewritten(builder, tmp_path):
    """A checkpoint of `family` whose tensors `change` has been at."""

    def make(change, family="qwen3", **changes):
        tensors = builder.weights(builder.config(family, **changes))
        change(tensors)
        return str(builder.write(tmp_path / "new", family, tensors=tensors, **changes))

    return make


def test_a_missing_tensor(rewritten):
    folder = rewritten(lambda tensors: tensors.pop("model.layers.1.mlp.up_proj.weight"))
    with pytest.raises(DamagedInput, match=r"'model\.layers\.1\.mlp\.up_proj\.weight' is missing"):
        open_checkpoint(folder)


def test_a_tensor_without_a_place_is_refused(rewritten):
    odd = "model.layers.0.self_attn.sinks"
    folder = rewritten(lambda tensors: tensors.update({odd: np.zeros(4, np.float32)}))
    with pytest.raises(DamagedInput, match=r"sinks' has no place"):
        open_checkpoint(folder)


def test_a_tensor_of_another_shape(rewritten):
    name = "model.layers.0.mlp.down_proj.weight"
    folder = rewritten(lambda tensors: tensors.update({name: tensors[name].T.copy()}))
    with pytest.raises(DamagedInput, match=r"is \[48, 32\], config\.json makes it \[32, 48\]"):
        open_checkpoint(folder)


def test_a_tied_head_and_recomputed_tables_are_skipped_aloud(rewritten):
    def add(tensors):
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
        tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.ones(4, np.float32)

    checkpoint = open_checkpoint(rewritten(add, "qwen2"))
    assert dict(checkpoint.skipped) == {
        "lm_head.weight": "tied to the embedding",
        "model.layers.0.self_attn.rotary_emb.inv_freq": "recomputed from config.json",
    }


def test_an_untied_head_must_be_there(rewritten):
    folder = rewritten(lambda tensors: tensors.pop("lm_head.weight"))
    with pytest.raises(DamagedInput, match=r"'lm_head\.weight' is missing"):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ({"temperature": 0.6, "top_k": 20}, {"temperature": 0.6, "top_k": 20.0}),
        ({"temperature": True, "top_p": "0.9", "top_k": None}, {}),
        ({"top_k": -1, "temperature": 10**400, "min_p": float("nan")}, {}),
    ],
)
def test_sampling_is_read_where_it_is_numbers(whole, written, read):
    (whole / "generation_config.json").write_text(json.dumps(written))
    assert open_checkpoint(str(whole)).sampling == read


def test_the_card_is_read_and_its_damage_named(whole):
    card = whole / "README.md"
    card.write_text(
        "---\nlicense: apache-2.0\nbase_model: org/base\nlanguage: [en, fr]\n---\n# Hi\n"
    )
    read = open_checkpoint(str(whole)).card
    assert (read.licence, read.base_models, read.languages) == (
        "apache-2.0", ("org/base",), ("en", "fr"),
    )  # fmt: skip
    card.write_text("---\nlicense: [\n---\n")
    with pytest.raises(DamagedInput, match=r"README\.md"):
        _ = open_checkpoint(str(whole)).card
    card.write_text("no front matter")
    assert open_checkpoint(str(whole)).card.licence is None


def test_a_checkpoint_without_a_tokenizer(whole):
    (whole / "tokenizer.json").unlink()
    checkpoint = open_checkpoint(str(whole))
    with pytest.raises(Missing, match=r"tokenizer\.json"):
        _ = checkpoint.tokenizer


def test_an_integer_weight_is_refused_when_it_is_read(builder, whole):
    path = whole / "model.safetensors"
    path.write_bytes(
        path.read_bytes().replace(b'"BF16", "shape": [290, 32]', b'"I16",  "shape": [290, 32]')
    )
    checkpoint = open_checkpoint(str(whole))
    with pytest.raises(Unsupported, match="is I16"):
        checkpoint.ref(checkpoint.decoder.weights[0]).read()


@pytest.mark.parametrize("source", ["n" * 300, "org/" + "n" * 300, "~nobody-of-this-name/model"])
def test_a_name_that_no_folder_can_have(source):
    with pytest.raises(UsageError) as caught:
        open_checkpoint(source)
    assert source in caught.value.message


def test_a_name_with_nul():
    with pytest.raises(UsageError, match="unknown model"):
        open_checkpoint("model\0")
