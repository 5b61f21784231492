"""Models by name: listed, shown, weighed; and never packed from nothing."""

from __future__ import annotations

import pytest

DEVICE = ("--device", "mac-mini-m4-16gb")


def test_models_are_listed(run):
    done = run("profiles", "list", "--models", "--json")
    rows = {row["name"]: row for row in done.result["models"]}
    assert rows["phi-4"] == {
        "name": "phi-4",
        "parameters": 14_659_507_200,
        "context_length": 16384,
        "released": "2024-12",
        "licence": "MIT",
    }
    text = run("profiles", "list", "--models").out
    assert "phi-4" in text.split()
    assert "pi5-8gb" not in text


def test_a_broken_entry_hides_no_other(run, tmp_path):
    folder = tmp_path / "edgepack" / "models"
    folder.mkdir(parents=True)
    (folder / "bad.toml").write_text("[")
    done = run("profiles", "list", "--models", XDG_CONFIG_HOME=str(tmp_path))
    assert done.code == 0
    assert "bad.toml" in done.out
    assert "phi-4" in done.out.split()


def test_a_model_is_shown(run):
    done = run("profiles", "show", "Gemma_3 27B", "--json")
    assert done.result["repository"] == "google/gemma-3-27b-it"
    assert done.result["layers"] == 62
    assert done.result["cache"] == [
        {"layers": 52, "k_elements": 2048, "v_elements": 2048, "window": 1024},
        {"layers": 10, "k_elements": 2048, "v_elements": 2048, "window": None},
    ]
    text = run("profiles", "show", "gemma-3-27b").out
    assert "416.0 KiB a token in 52 layers, the latest 1,024 (f16)" in text
    assert "80.0 KiB a token in 10 layers (f16)" in text
    assert "https://huggingface.co/google/gemma-3-27b-it" in text


def test_fit_knows_a_model_by_name_offline(run):
    done = run("fit", "DeepSeek-R1-Distill-Qwen-7B", *DEVICE, "--json")
    assert done.code == 0
    assert done.result["model"] == "deepseek-r1-distill-qwen-7b"
    assert done.result["parameters"] == 7_615_616_512


def test_every_model_is_weighed(run):
    """The largest windows, latents and recurrences, in each format."""
    for name in ("gpt-oss-20b", "deepseek-v3", "granite-4.0-h-tiny", "gemma-3n-e2b"):
        done = run("fit", name, *DEVICE, "--to", "gguf", "--to", "mlx", "--json")
        assert done.code in (0, 3), done.out


@pytest.mark.parametrize(
    "command",
    [
        ("quantize", "phi-2", "--scheme", "Q8_0"),
        ("pack", "smollm2-135m", *DEVICE),
    ],
)
def test_what_needs_weights_says_where_they_are(run, tmp_path, command):
    done = run(*command, "-o", tmp_path / "out")
    assert done.code == 6
    assert "a model of the catalogue, which has shapes and no weights" in done.err
    assert "give microsoft/phi-2" in done.err or "give HuggingFaceTB/SmolLM2" in done.err
    assert not (tmp_path / "out").exists()


def test_nothing_is_validated_against_a_shape(run, golden, tmp_path):
    out = tmp_path / "tiny.gguf"
    assert run("quantize", golden / "tiny-llama", "--scheme", "F16", "-o", out).code == 0
    done = run("validate", out, "--reference", "phi-2")
    assert done.code == 6
    assert "give microsoft/phi-2" in done.err


def test_an_unknown_name_is_no_use(run):
    done = run("fit", "lama-3.1-8b")
    assert done.code == 2
    assert "did you mean 'llama-3.1-8b'?" in done.err
