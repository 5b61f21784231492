"""The catalogue: each entry's [config] amounts to the published number of weights, to the last."""

from __future__ import annotations

import re
import tomllib
from importlib import resources
from pathlib import Path

import pytest

from edgepack.errors import DamagedInput, Missing, Unsupported, UsageError
from edgepack.memory import Deployment
from edgepack.memory.law import kv_cache_bytes
from edgepack.models import catalogue, is_task_model, open_checkpoint, read_decoder
from edgepack.models.catalogue import entry, match, names, read_entry
from edgepack.models.config import Config

FOLDER = Path(__file__).parents[2] / "profiles" / "models"
FILES = sorted(FOLDER.glob("*.toml"))
MIB = 1024**2

# Published in papers and model cards, to the digits given there, in billions: (whole, tolerance).
BILLIONS = {
    "deepseek-v3": (671, 0.5),  # "671B total parameters", without the module for a second token
    "deepseek-v2-lite": (15.7, 0.05),
    "gpt-oss-20b": (20.91, 0.005),
    "gpt-oss-120b": (116.83, 0.005),
    "llama-4-scout": (109, 1.5),  # with its vision encoder
    "mixtral-8x7b": (46.7, 0.05),
    "qwen3-30b-a3b": (30.5, 0.05),
    "qwen3-235b-a22b": (235, 0.5),
    "qwen3-next-80b-a3b": (80, 0.5),
    "qwen1.5-moe-a2.7b": (14.3, 0.05),
    "granite-4.0-h-tiny": (7, 0.1),
    "gemma-3-270m": (0.268, 0.0005),
    "phi-2": (2.78, 0.005),
}


@pytest.fixture(autouse=True)
def user_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folder = tmp_path / "config" / "edgepack" / "models"
    folder.mkdir(parents=True)
    return folder


def test_at_least_seventy_ship():
    assert len(names()) >= 70
    assert list(names()) == sorted(file.stem for file in FILES)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_shipped_entry_amounts_to_its_published_count(file):
    stated = tomllib.loads(file.read_text("utf-8"))
    found = entry(file.stem)
    assert found.name == file.stem
    assert found.parameters == found.decoder.parameters == stated["parameters"]
    assert found.decoder.dtype in ("BF16", "F16"), "no checkpoint of these is in float32"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_shipped_entry_names_its_source(file):
    text = file.read_text("utf-8")
    repository = tomllib.loads(text)["repository"]
    comment = text.split("repository =")[0]
    assert f"# https://huggingface.co/{repository}/blob/main/config.json\n" in comment
    assert re.fullmatch(r"[a-z0-9]+([.-][a-z0-9]+)*", file.stem)


@pytest.mark.parametrize(("name", "billions"), BILLIONS.items())
def test_counts_are_those_of_papers_and_cards(name, billions):
    whole, tolerance = billions
    assert entry(name).parameters / 1e9 == pytest.approx(whole, abs=tolerance)


def test_names_are_told_apart():
    plain = [re.sub("[-_ ]", "", name) for name in names()]
    assert len(set(plain)) == len(plain)


@pytest.mark.parametrize(
    ("name", "mib"),
    [
        ("llama-3.1-8b", 4096),  # 32 layers x 2 x 8 heads x 128
        ("qwen3-0.6b", 3584),  # 28 x 2 x 8 x 128
        ("gemma-3-27b", 3184),  # 10 whole layers, 52 of 1024 + 512 tokens; 2 x 16 x 128
        ("deepseek-v3", 2196),  # 61 x (512 + 64)
        ("gpt-oss-20b", 786),  # 12 whole layers, 12 of 128 + 512 tokens; 2 x 8 x 64
    ],
)
def test_kv_cache_of_32k_tokens(name, mib):
    deployment = Deployment(32768, "f16", "f16")
    assert kv_cache_bytes(entry(name).decoder, deployment) == mib * MIB


@pytest.mark.parametrize(
    "text", ["qwen3-0.6b", "Qwen3-0.6B", "QWEN3_0.6b", "qwen3 0.6b", " qwen-3-0.6b "]
)
def test_a_name_is_matched_however_it_is_typed(text):
    assert match(text) == entry(text).name == "qwen3-0.6b"


@pytest.mark.parametrize(
    "text", ["Qwen/Qwen3-0.6B", "qwen/qwen3-0.6b", "./qwen3-0.6b", "qwen3-0.6b@main", "", "qwen3"]
)
def test_what_is_no_catalogue_name(text):
    assert match(text) is None


def test_unknown_model_offers_the_nearest_and_the_list():
    with pytest.raises(UsageError, match=r"unknown model 'qwen3-0.7b'") as caught:
        read_decoder("qwen3-0.7b")
    assert "did you mean 'qwen3-0.6b'" in caught.value.hint
    assert "edgepack profiles list --models" in caught.value.hint
    assert caught.value.exit_code == 2


def test_a_shape_is_read_from_the_catalogue():
    name, decoder = read_decoder("TinyLlama_1.1B")
    assert (name, decoder.width, len(decoder.layers)) == ("tinyllama-1.1b", 2048, 22)
    assert not is_task_model("tinyllama-1.1b")


def test_the_catalogue_has_no_weights():
    with pytest.raises(Missing, match="no weights") as caught:
        open_checkpoint("tinyllama-1.1b")
    assert "TinyLlama/TinyLlama-1.1B-Chat-v1.0" in caught.value.hint


def test_a_folder_of_the_same_name_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("tinyllama-1.1b").mkdir()
    with pytest.raises(UsageError, match=r"there is no config\.json"):
        read_decoder("tinyllama-1.1b")


TOP = """
repository = "org/name"
licence = "MIT"
released = "2025-01"
parameters = COUNT
"""
CONFIG = """
[config]
model_type = "llama"
vocab_size = 256
hidden_size = 64
intermediate_size = 128
num_hidden_layers = 2
num_attention_heads = 4
max_position_embeddings = 512
tie_word_embeddings = true
torch_dtype = "bfloat16"
"""
# embedded; two layers of attention, feed-forward and two norms; a norm
COUNT = 256 * 64 + 2 * (4 * 64 * 64 + 3 * 64 * 128 + 2 * 64) + 64
GOOD = TOP.replace("COUNT", str(COUNT)) + CONFIG


def test_entries_of_the_user_are_listed_and_win(user_folder):
    (user_folder / "mine.toml").write_text(GOOD)
    (user_folder / "qwen3-0.6b.toml").write_text(GOOD)
    (user_folder / "notes.txt").write_text("not an entry")
    assert "mine" in names()
    assert "notes" not in names()
    assert entry("Mine").decoder.width == entry("qwen3-0.6b").decoder.width == 64


@pytest.mark.parametrize("folder", ["edgepack/profiles/models", "profiles/models"])
def test_shipped_entries_lie_in_the_wheel_or_beside_the_package(tmp_path, monkeypatch, folder):
    (tmp_path / "edgepack").mkdir()
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "mine.toml").write_text(GOOD)
    monkeypatch.setattr(resources, "files", lambda package: tmp_path / package)
    assert names() == ("mine",)


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"),
    [
        ("licence =", "license =", "unknown key in {file}: 'license'", "did you mean 'licence'?"),
        ('licence = "MIT"', "", "{file}: licence is missing", "every entry"),
        ('"org/name"', '"name"', "{file}: repository is 'name'", "org/name"),
        ('"org/name"', '"org/name@main"', "{file}: repository is 'org/name@main'", "org/name"),
        ('"org/name"', "5", "{file}: repository is 5", "text in quotes"),
        ('"2025-01"', '"2025-13"', "{file}: released is '2025-13'", "a month"),
        ("parameters =", "# ", "{file}: parameters is missing", "every entry"),
        ("parameters = ", "parameters = 1", "{file}: parameters is 198624", "not this model's"),
        ("[config]", "config = 5\n[x]", "unknown key in {file}: 'x'", "known: config"),
        (CONFIG, "config = 5", "{file}: config is 5", "[config]"),
        ("licence", "=", "{file}: ", "TOML"),
    ],
)
def test_broken_entry_says_what_and_where(tmp_path, old, new, message, hint):
    file = tmp_path / "mine.toml"
    assert old in GOOD
    file.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(UsageError) as caught:
        read_entry("mine", file)
    assert caught.value.message.startswith(message.format(file=file))
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ('"llama"', '"lama"', Unsupported),
        ("hidden_size = 64", "hidden_size = -64", DamagedInput),
        ("vocab_size = 256", "", DamagedInput),
        ("hidden_size = 64", 'hidden_size = 64\nrope_scaling = {type = "none"}', Unsupported),
    ],
)
def test_a_config_that_no_family_reads(tmp_path, old, new, error):
    file = tmp_path / "mine.toml"
    file.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(error, match=re.escape(str(file))):
        read_entry("mine", file)


def test_a_users_entry_wins_however_it_is_spelt(user_folder):
    before = names()
    (user_folder / "Qwen3_0.6B.toml").write_text(GOOD)
    assert names() == before
    assert entry("qwen3-0.6b").decoder.width == 64


def test_an_extent_beyond_any_models_is_told_its_limit(tmp_path):
    config = Config(tmp_path, {"max_position_embeddings": 1 << 40})
    with pytest.raises(DamagedInput, match="is 1099511627776") as caught:
        config.integer("max_position_embeddings")
    assert caught.value.hint == "it must be a positive integer, at most 2147483647"


def test_an_entry_is_one_file(user_folder):
    """A broken one of the user's spoils no other."""
    (user_folder / "bad.toml").write_text("[")
    assert catalogue.entry("phi-2").decoder.width == 2560
