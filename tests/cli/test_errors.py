"""Bad input: one clear error naming file, found and required; the exit code; nothing written."""

import json
import shutil
import struct

import pytest


@pytest.fixture
def broken(reasoner, tmp_path):
    """A copy of the fixture to break, beside the folder that must stay empty."""
    copy = tmp_path / "checkpoint"
    copy.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
                 "eval.jsonl"):  # fmt: skip
        shutil.copy(reasoner / name, copy)
    return copy


@pytest.fixture
def refused(run, tmp_path):
    """Run pack on a checkpoint and require one error with this code, and no output at all."""

    def check(checkpoint, code, *words, options=()):
        before = sorted(tmp_path.iterdir())
        done = run("pack", checkpoint, "-o", tmp_path / "out", *options)
        assert done.code == code, done.err
        assert done.out == ""
        lines = done.err.strip().splitlines()
        assert lines[0].startswith("edgepack: ")
        assert len(lines) <= 2, done.err
        for word in words:
            assert str(word) in done.err
        assert sorted(tmp_path.iterdir()) == before

    return check


def edit_config(checkpoint, **values):
    path = checkpoint / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_not_a_checkpoint(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", 2, "empty", "config.json")


def test_no_such_folder(refused, tmp_path):
    refused(tmp_path / "absent", 6, "absent", "no such")


def test_a_hub_id_offline(refused):
    refused("nobody/nothing", 6, "nobody/nothing", "HF_HUB_OFFLINE")


def test_missing_shard(refused, broken):
    index = {"weight_map": {"model.norm.weight": "model-00001-of-00002.safetensors"}}
    (broken / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(broken, 6, "model-00001-of-00002.safetensors", "missing")


def test_truncated_weights(refused, broken):
    path = broken / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    refused(broken, 5, "model.safetensors")


def test_lying_header(refused, broken):
    path = broken / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[:8] = struct.pack("<Q", 2**60)
    path.write_bytes(content)
    refused(broken, 5, "model.safetensors", "header")


def test_unknown_architecture_lists_the_known_ones(refused, broken):
    edit_config(broken, model_type="mamba")
    refused(broken, 1, "mamba", "llama", "mistral", "qwen2", "qwen3")


def test_pickled_weights(refused, broken):
    (broken / "model.safetensors").unlink()
    (broken / "pytorch_model.bin").write_bytes(b"\x80\x04K\x01.")
    refused(broken, 2, "pytorch_model.bin", "safetensors")


def test_nan_in_a_tensor_is_named_with_its_place(refused, broken):
    path = broken / "model.safetensors"
    content = bytearray(path.read_bytes())
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    name = "model.layers.2.mlp.up_proj.weight"
    columns = header[name]["shape"][1]
    at = 8 + length + header[name]["data_offsets"][0] + 2 * (3 * columns + 7)
    content[at : at + 2] = b"\xc0\x7f"  # a quiet NaN in bfloat16
    path.write_bytes(content)
    refused(broken, 5, name, "nan", "row 3, column 7")


def test_unknown_scheme_has_a_near_match(refused, broken):
    refused(broken, 2, "Q4_K_N", "Q4_K_M", options=("--scheme", "Q4_K_N"))


def test_what_was_asked_of_tensors_and_is_not_there(refused, broken, tmp_path):
    def asked(*options):
        return ("--scheme", "Q4_K_M", *options)

    refused(broken, 2, "Q6_L", "Q6_K", options=asked("--tensor-type", "ffn_down=Q6_L"))
    refused(broken, 2, "ffn_dwon", "no tensor", options=asked("--tensor-type", "ffn_dwon=Q6_K"))
    refused(broken, 2, "q9", options=asked("--output-type", "q9"))
    refused(broken, 6, "none.gguf", options=asked("--imatrix", tmp_path / "none.gguf"))
    refused(
        broken, 1, "llama-imatrix --in-file", options=asked("--imatrix", broken / "config.json")
    )
    refused(broken, 2, "--imatrix FILE", options=("--scheme", "Q2_K_S"))


def test_unknown_device_has_a_near_match(refused, broken):
    refused(broken, 2, "pi5-8g", "pi5-8gb", options=("--device", "pi5-8g"))


def test_unknown_profile_format_and_cache(refused, broken):
    refused(broken, 2, "balancd", "balanced", options=("--profile", "balancd"))
    refused(broken, 2, "ggfu", "gguf", options=("--to", "ggfu"))
    refused(broken, 2, "q8", "q8_0", options=("--kv", "q8"))
    refused(broken, 2, "lots", options=("--memory", "lots"))


def test_no_corpus_there(refused, broken, tmp_path):
    refused(broken, 6, "none.jsonl", options=("--corpus", tmp_path / "none.jsonl"))


def test_a_broken_corpus_names_file_and_line(refused, broken):
    with (broken / "eval.jsonl").open("a") as file:
        file.write("{broken\n")
    refused(broken, 5, "eval.jsonl, line")


def test_output_exists(refused, broken, tmp_path):
    (tmp_path / "out").mkdir()
    refused(broken, 1, "exists", "--force")


def test_a_package_is_a_folder(run, broken, tmp_path):
    done = run("pack", broken, "-o", tmp_path / "model.gguf")
    assert done.code == 2
    assert "folder" in done.err
    assert not (tmp_path / "model.gguf.partial").exists()


def test_force_replaces_only_what_edgepack_writes(refused, broken, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    refused(broken, 1, "not a package", options=("--force",))
    assert (tmp_path / "out" / "thesis.txt").exists()


def test_an_artifact_that_is_no_gguf(run, reasoner, tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + b"\xff" * 100)
    done = run("validate", path, "--reference", reasoner)
    assert done.code == 5
    assert str(path) in done.err


def test_verify_of_an_unfinished_package(run, tmp_path):
    assert run("verify", tmp_path).code == 5


def test_usage_errors_are_exit_2(run):
    assert run("pack").code == 2
    assert run("nonsense").code == 2


def test_debug_shows_where_an_error_arose(run, tmp_path):
    done = run("pack", tmp_path, "-o", tmp_path / "out", EDGEPACK_DEBUG="1")
    assert "Traceback" in done.err
