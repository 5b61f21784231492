"""The main job, as a stranger runs it: real command, trained fixture, real llama.cpp."""

import json
import shutil
import subprocess
import sys
import tomllib

import pytest

from edgepack.fidelity import runtimes
from edgepack.models import open_checkpoint


def answer(gguf, reasoner, question):
    """What llama.cpp replies, greedily."""
    tokenizer = open_checkpoint(str(reasoner)).tokenizer
    prompt = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
    with runtimes.open(gguf) as runtime:
        return tokenizer.decode(runtime.generate(runtime.tokenize(prompt), 400, [tokenizer.eos_id]))


def test_the_package_is_whole_and_passes(run, package, reasoner):
    assert sorted(path.name for path in package.iterdir()) == [
        "edgepack.toml", "fidelity.json", "reasoner-Q8_0.gguf",
    ]  # fmt: skip
    assert not package.with_name("out.partial").exists()
    verified = run("verify", package, "--source", reasoner)
    assert verified.code == 0, verified.err
    assert "the model and its memory law are as recorded" in verified.out


def test_llama_cpp_answers_from_the_package(package, reasoner):
    reply = answer(package / "reasoner-Q8_0.gguf", reasoner, "what is 47+386+9?")
    assert "The answer is 442." in reply


SERVE = """
import json, sys, xllamacpp
parameters = xllamacpp.CommonParams()
parameters.model.path = sys.argv[1]
parameters.n_ctx, parameters.n_parallel, parameters.n_gpu_layers = 1024, 1, 0
parameters.warmup, parameters.verbosity = False, -1
question = {"role": "user", "content": "what is 47+386+9?"}
request = {"messages": [question], "temperature": 0, "max_tokens": 400}
print(json.dumps(xllamacpp.Server(parameters).handle_chat_completions(request)))
"""


def test_llama_servers_chat_endpoint_answers_with_the_packages_own_template(package):
    done = subprocess.run(
        [sys.executable, "-c", SERVE, package / "reasoner-Q8_0.gguf"],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    (choice,) = json.loads(done.stdout.splitlines()[-1])["choices"]
    assert choice["finish_reason"] == "stop"
    assert choice["message"]["content"].endswith("The answer is 442.")


def test_the_manifest_binds_the_verdict_to_the_bytes(package):
    manifest = tomllib.loads((package / "edgepack.toml").read_text())
    (fidelity,) = manifest["fidelity"]
    (artifact,) = manifest["artifacts"]
    assert fidelity["measured"]["verdict"] == "pass"
    assert fidelity["tensor_digest"] == artifact["tensor_digest"]
    assert fidelity["sha256"] == [artifact["files"][0]["sha256"]]
    assert manifest["toolchain"]["argv"][:2] == ["edgepack", "pack"]


@pytest.mark.parametrize("scheme", ["F32", "F16", "BF16"])
def test_a_conversion_is_at_the_noise_floor(run, reasoner, tmp_path, few_documents, scheme):
    """The proof that tensors, rotary layout, tokenizer and metadata are right."""
    out = tmp_path / "model.gguf"
    assert run("quantize", reasoner, "--scheme", scheme, "-o", out).code == 0
    done = run("validate", out, "--reference", reasoner, "--corpus", few_documents,
               "--profile", "convert", "--json")  # fmt: skip
    assert done.code == 0, done.out
    assert done.result["verdict"] == "pass"
    assert done.result["overall"]["kl_mean"]["value"] < (2e-5 if scheme == "BF16" else 1e-6)
    assert done.result["overall"]["hard_flip_count"] == 0


def test_a_crude_scheme_fails_and_publishes_nothing(run, reasoner, tmp_path):
    out = tmp_path / "out"
    done = run("pack", reasoner, "--scheme", "Q2_K", "-o", out, "--json")
    assert done.code == 4
    assert "fidelity failed" in done.error["message"]
    assert done.result["fidelity"][0]["verdict"] == "fail"
    assert done.result["out"] == str(tmp_path / "out.partial")
    assert not out.exists()
    left = sorted(path.name for path in (tmp_path / "out.partial").iterdir())
    assert left == ["fidelity.json", "reasoner-Q2_K.gguf"]  # to look at, and no manifest
    validated = run("validate", tmp_path / "out.partial", "--reference", reasoner, "--json")
    assert validated.code == 4
    assert validated.result["verdict"] == "fail"


def test_a_failed_verdict_can_be_published_by_hand(run, reasoner, tmp_path, few_documents):
    out = tmp_path / "out"
    done = run("pack", reasoner, "--scheme", "Q2_K", "-o", out, "--allow-failed",
               "--corpus", few_documents)  # fmt: skip
    assert done.code == 0
    assert run("verify", out).code == 0
    verdict = run("manifest", "show", out, "--json").result["fidelity"][0]["measured"]["verdict"]
    assert verdict == "fail"


def test_an_earlier_package_stays_unless_forced(run, reasoner, package, tmp_path, few_documents):
    out = tmp_path / "out"
    shutil.copytree(package, out)
    refused = run("pack", reasoner, "-o", out)
    assert refused.code == 1
    assert "--force" in refused.err
    forced = run("pack", reasoner, "--scheme", "F16", "-o", out, "--force", "-q",
                 "--corpus", few_documents)  # fmt: skip
    assert forced.code == 0
    assert forced.out.strip() == str(out)
    assert (out / "reasoner-F16.gguf").exists()
    assert not (out / "reasoner-Q8_0.gguf").exists()


def test_an_artifact_folder_is_replaced_only_when_edgepack_wrote_it(run, reasoner, tmp_path):
    out = tmp_path / "out"
    for bits in ("8", "4"):
        assert run("quantize", reasoner, "--bits", bits, "-o", out, "--force").code == 0
    assert [path.name for path in out.iterdir()] == ["reasoner-Q4_K_M.gguf"]
    (out / "notes.txt").write_text("mine")
    assert run("quantize", reasoner, "--bits", "8", "-o", out, "--force").code == 1
    copy = shutil.copytree(reasoner, tmp_path / "reasoner")
    assert run("quantize", copy, "--bits", "8", "-o", copy, "--force").code == 1
    assert (copy / "model.safetensors").exists()


def test_a_context_beyond_the_trained_one_is_noted(run, reasoner, tmp_path, few_documents):
    done = run("pack", reasoner, "-o", tmp_path / "out", "--ctx", "4096", "--corpus", few_documents)
    assert "note: a context of 4096 is beyond the 2048 tokens" in done.out


def test_a_vocabulary_of_another_size_is_found_before_anything_is_run(
    run, package, golden, tmp_path
):
    done = run("validate", package, "--reference", golden / "tiny-qwen2")
    assert done.code == 4
    assert "a vocabulary of 339, tiny-qwen2 one of" in done.err


def test_a_scheme_that_does_not_fit_is_exit_3(run, reasoner, tmp_path):
    done = run("pack", reasoner, "--memory", "20M", "-o", tmp_path / "out", "--json")
    assert done.code == 3
    assert done.error["code"] == "does_not_fit"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["reasoner-Q8_0.gguf", "fidelity.json", "edgepack.toml"])
def test_a_tampered_package_is_exit_5(run, package, tmp_path, name):
    copy = tmp_path / "copy"
    shutil.copytree(package, copy)
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    assert run("verify", copy).code == 5


def test_quantize_says_beforehand_what_it_will_write(run, reasoner, tmp_path):
    out = tmp_path / "model.gguf"
    plan = run("quantize", reasoner, "--scheme", "Q4_K_M", "-o", out, "--dry-run", "--json")
    assert plan.code == 0
    assert not out.exists()
    assert run("quantize", reasoner, "--scheme", "Q4_K_M", "-o", out).code == 0
    assert out.stat().st_size == plan.result["planned_bytes"]


def test_pack_prints_one_json_object(run, reasoner, tmp_path, few_documents):
    done = run("pack", reasoner, "-o", tmp_path / "out", "--json", "--corpus", few_documents)
    assert json.loads(done.out)["ok"] is True
    assert done.err == ""
    assert [r["verdict"] for r in done.result["fidelity"]] == ["pass"]
