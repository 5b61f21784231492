"""`edgepack fit` and `detect` as they are typed."""

import json

import pytest

from edgepack.cli.fit_tables import rate
from edgepack.memory.law import PROCESS_BYTES


def test_every_scheme_is_weighed(run, reasoner):
    done = run("fit", reasoner, "--device", "pi5-8gb", "--json")
    schemes = [f["scheme"] for f in done.result["fits"]]
    assert done.code == 0
    assert schemes == ["F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K"]
    assert all(f["fits"] and f["longest_context"] == 2048 for f in done.result["fits"])


def test_weights_are_the_files_tensor_bytes(run, reasoner, package):
    fits = {f["scheme"]: f for f in run("fit", reasoner, "--json").result["fits"]}
    histogram = run("manifest", "show", package, "--json").result["artifacts"][0]["histogram"]
    assert fits["Q8_0"]["footprint"]["weights"] == sum(count["size"] for count in histogram)


def test_nothing_fits_is_exit_3_and_says_what_is_needed(run, reasoner):
    done = run("fit", reasoner, "--memory", "16M", "--json")
    assert done.code == 3
    assert done.error["code"] == "does_not_fit"
    assert "Q2_K, needs 38." in done.error["message"]
    assert not any(f["fits"] for f in done.result["fits"])


def test_the_table_of_a_model_that_does_not_fit_is_still_printed(run, reasoner):
    done = run("fit", reasoner, "--memory", "16M")
    assert done.code == 3
    assert "Q4_K_M" in done.out
    assert "hint:" in done.err


def test_cache_type_and_slots_change_the_cache(run, reasoner):
    def kv(*options):
        return run("fit", reasoner, "--json", *options).result["fits"][0]["footprint"]["kv"]

    assert kv("--ctx", "1024") == 4 * 1024 * 2 * 2 * 64 * 2  # layers, tokens, K and V, heads, f16
    assert kv("--ctx", "1024", "--kv", "q8_0") * 32 == kv("--ctx", "1024") * 17


def test_fit_needs_no_weights(run, reasoner, tmp_path):
    (tmp_path / "config.json").write_text((reasoner / "config.json").read_text())
    assert run("fit", tmp_path).code == 0


def test_detect_says_how_each_figure_is_known(run):
    done = run("detect", "--json")
    envelope = json.loads(done.out)
    assert envelope["schema"] == "edgepack.result/1"
    assert envelope["ok"] is True
    for name in ("memory", "available", "bandwidth", "disk_free"):
        assert done.result[name]["origin"] in ("probed", "measured", "profile", "unknown")
    assert done.result["bandwidth"]["origin"] == "measured"


def test_detect_prints_a_table(run):
    assert "GB/s (measured)" in run("detect").out


def test_profiles_are_listed_and_shown(run):
    assert "pi5-8gb" in run("profiles", "list").out.split()
    assert "(profile)" in run("profiles", "show", "pi5-8gb").out


def test_stated_memory_keeps_the_speed_of_the_place(run, reasoner):
    def speed(*options):
        return run("fit", reasoner, "--device", "rtx-4060", *options, "--json").result["fits"][0]

    stated = speed("--memory", "6G")
    assert stated["placement"]["parts"][0]["place"]["memory"]["value"] == 6 * 2**30
    assert stated["decode"] == speed()["decode"] is not None
    assert stated["placement"]["parts"][0]["place"]["name"] == "NVIDIA GeForce RTX 4060"


SMALL_CARD = """
[memory]
total_mib = 131072
bandwidth_gb_s = 50

[[accelerators]]
name = "Small Card"
vendor = "nvidia"
memory_mib = 18
bandwidth_gb_s = 300
"""


def test_a_small_card_does_not_cap_a_large_host(run, reasoner, tmp_path):
    devices = tmp_path / "edgepack" / "devices"
    devices.mkdir(parents=True)
    (devices / "small-card.toml").write_text(SMALL_CARD)
    command = ("fit", reasoner, "--device", "small-card")
    done = run(*command, XDG_CONFIG_HOME=str(tmp_path))
    assert done.code == 0
    lines = [line.rstrip() for line in done.out.splitlines()]
    rows = {line.split()[0]: line for line in lines if " yes " in line or " tight " in line}
    assert rows["F16"].endswith("CPU")
    assert rows["Q4_K_M"].endswith("Small Card")
    assert "18.0 MiB on Small Card, 128.0 GiB on CPU for a model" in done.out
    assert "note: F16 does not fit Small Card alone: it runs on CPU" in done.out
    shown = run("profiles", "show", "small-card", XDG_CONFIG_HOME=str(tmp_path)).out
    assert "or, on the CPU" in shown


def test_a_catalogue_name_is_weighed_offline(run):
    done = run("fit", "deepseek-r1-distill-qwen-7b", "--device", "mac-mini-m4-16gb")
    assert done.code == 0
    assert "7.6B parameters, contexts up to 131,072 tokens" in done.out


def test_what_is_required_holds_or_exits_3(run):
    command = ("fit", "llama-3.1-8b", "--device", "pi5-8gb", "--require")
    assert run(*command, "ctx>=8192,memory<=7G").code == 0
    done = run(*command, "ctx>=8192,tps>=20", "--json")
    assert done.code == 3
    assert json.loads(done.out)["error"]["code"] == "does_not_fit"
    (row,) = [row for row in done.result["fits"] if row["scheme"] == "Q5_K_M"]
    assert row["fits"]
    assert [told.split()[0] for told in row["unmet"]] == ["tps"]
    assert run(*command, "speed>=20").code == 2


def test_a_draft_is_weighed_beside_its_target(run):
    command = ("fit", "llama-3.1-8b", "--device", "rtx-4090", "--scheme", "Q4_K_M", "--draft")
    (pair,) = run(*command, "llama-3.2-1b", "--json").result["pairs"]
    assert pair["fits"]
    target, draft = pair["target"], pair["draft"]
    assert target["placement"]["parts"][0]["place"]["memory"]["value"] == (
        draft["placement"]["parts"][0]["place"]["memory"]["value"]
        - draft["placement"]["parts"][0]["bytes"]
    )
    assert pair["total"] == target["total"] + draft["total"] - PROCESS_BYTES["llama-cli"]
    assert pair["speedups"][-1]["times"] > pair["speedups"][0]["times"] > 1
    assert "with its draft" in run(*command, "llama-3.2-1b").out
    done = run(*command, "qwen2.5-0.5b")
    assert done.code == 2
    assert "vocabularies of 128256 and 151936 tokens" in done.err


def test_without_a_model_the_catalogue_is_ranked(run):
    done = run("fit", "--device", "pi5-8gb", "--ctx", "8192", "--require", "tps>=3", "--json")
    assert done.code == 0
    models = done.result["models"]
    assert all(model["comfortable"] and model["decode"]["low"] >= 3 for model in models)
    order = [
        (m["decode"]["high"] >= 5, m["decode"]["high"] >= 5 and m["bits"] >= 4, m["parameters"])
        for m in models
    ]
    assert order == sorted(order, reverse=True)
    assert len(models) < done.result["considered"]
    assert run("fit", "--device", "pi5-8gb", "--require", "tps>=1000000").code == 3
    assert run("fit", "--device", "pi5-8gb", "--draft", "qwen3-0.6b").code == 2


def test_two_cards_share_what_one_cannot_hold(run):
    done = run("fit", "llama-3.3-70b", "--device", "2x rtx-3090", "--scheme", "Q4_K_M", "--json")
    (row,) = done.result["fits"]
    assert row["placement"]["kind"] == "split"
    assert [part["layers"] for part in row["placement"]["parts"]] == [40, 40, 0]


def test_a_server_has_four_slots(run):
    command = ("fit", "qwen3-8b", "--device", "rtx-4090", "--program", "llama-server", "--json")
    assert run(*command).result["fits"][0]["deployment"]["slots"] == 4
    assert run(*command, "--slots", "2").result["fits"][0]["deployment"]["slots"] == 2
    assert run("fit", "qwen3-8b", "--program", "llama").code == 2


def test_all_that_is_required_holds_at_the_context_that_is_required(run):
    command = ("fit", "llama-3.1-8b", "--device", "rtx-4090", "--scheme", "Q4_K_M", "--json")
    (short,) = run(*command, "--require", "ctx>=4096").result["fits"]
    (long,) = run(*command, "--require", "ctx>=131072").result["fits"]
    assert long["deployment"]["context"] == 131072
    assert long["decode"]["low"] < short["decode"]["low"]


def test_a_model_is_ranked_under_the_scheme_that_meets_what_is_required(run):
    models = run("fit", "--device", "rtx-4090", "--require", "tps>=30", "--json").result["models"]
    (found,) = [model for model in models if model["name"] == "qwen2.5-14b"]
    assert found["decode"]["low"] >= 30
    assert found["scheme"] != "Q8_0"


def test_a_model_whose_heads_a_cache_does_not_suit_is_left_out_of_the_ranking(run):
    done = run("fit", "--device", "rtx-4090", "--kv", "q8_0")
    assert done.code == 0
    assert "note: phi-2 is left out:" in done.out
    assert run("fit", "--device", "rtx-4090", "--kv", "q9_0").code == 2


def test_experts_that_were_released_in_mxfp4_stay_in_it(run):
    command = ("fit", "gpt-oss-20b", "--device", "rtx-4060-ti-16gb", "--json")
    rows = {row["scheme"]: row for row in run(*command).result["fits"]}
    assert rows["MXFP4_MOE"]["comfortable"]
    assert 12.0e9 < rows["MXFP4_MOE"]["footprint"]["weights"] < 12.2e9
    assert "MXFP4_MOE" not in {
        row["scheme"] for row in run("fit", "qwen3-30b-a3b", "--json").result["fits"]
    }


def test_what_edgepack_does_not_write_is_said(run):
    done = run("fit", "qwen3-30b-a3b", "--device", "macbook-pro-m4-max-64gb", "--to", "mlx")
    assert "note: edgepack does not write this model yet (mixture of experts)" in done.out
    done = run("fit", "deepseek-v3", "--device", "cpu-64gb-ddr5", "--to", "onnx")
    assert done.code == 1
    assert "latent attention" in done.err


def test_a_mixtures_prompt_waits_for_its_experts(run):
    """30B at 4 bits, 18 GB at 1008 GB/s and 85%: no faster than 512 tokens in 21 ms."""
    command = ("fit", "qwen3-30b-a3b", "--device", "rtx-4090", "--scheme", "Q4_K_M", "--json")
    (row,) = run(*command).result["fits"]
    assert row["prefill"]["high"] < 512 / (18e9 / (1008e9 * 0.85))


@pytest.mark.parametrize(
    "option",
    [
        "--require",
        "--memory",
        "--draft",
        "--kv",
        "--device",
        "--bandwidth",
        "--scheme",
        "--program",
    ],
)
def test_an_empty_option_opens_no_gate(run, reasoner, option):
    """In a pipeline it is a variable that nobody set."""
    done = run("fit", reasoner, option, "", "--json")
    assert done.code == 2
    assert done.error["message"] == f"{option} is empty"


def test_an_empty_model_is_not_this_folder(run):
    done = run("fit", "", "--device", "pi5-8gb")
    assert done.code == 2
    assert "MODEL is empty" in done.err


@pytest.mark.parametrize(
    ("tokens", "told"),
    [
        (1234.5, "1,234"),
        (10, "10"),
        (9.96, "10.0"),
        (1.26, "1.3"),
        (0.6, "0.60"),
        (1.2e-4, "0.00012"),
    ],
)
def test_a_speed_has_two_digits_that_count(tokens, told):
    assert rate(tokens) == told


def test_what_llama_cpp_is_told_changes_what_it_needs(run, reasoner):
    def needs(*options):
        command = ("fit", reasoner, "--device", "pi5-8gb", "--scheme", "Q8_0", "--json", *options)
        return run(*command).result["fits"][0]["footprint"]

    usual = needs()
    assert needs("--ubatch", "64")["compute"] < usual["compute"]
    assert needs("--no-flash-attention")["compute"] > usual["compute"]
    assert needs("--kv", "q8_0,f16")["kv"] * 64 == usual["kv"] * 49  # 34 of 64 bytes, for a half
    assert needs("--projector", "1M")["weights"] == usual["weights"] + 2**20
    apart = needs("--slots", "3", "--ctx", "1100", "--no-unified")
    assert apart["kv"] > needs("--slots", "3", "--ctx", "1100")["kv"]


def test_a_projector_lies_on_the_card(run, reasoner):
    command = (
        "fit",
        reasoner,
        "--device",
        "rtx-4060 + cpu-32gb-ddr5",
        "--scheme",
        "Q8_0",
        "--json",
    )

    def parts(*options):
        (fit,) = run(*command, *options).result["fits"]
        return [part["bytes"] for part in fit["placement"]["parts"]]

    (card, host), (with_projector, same) = parts(), parts("--projector", "1M")
    assert (with_projector, same) == (card + 2**20, host)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--to", "mlx", "--program", "llama-server"), "--program is for llama.cpp"),
        (("--to", "onnx", "--to", "mlx", "--ubatch", "64"), "--ubatch is for llama.cpp"),
        (("--kv", "f16,f16,f16"), "names 3 types"),
        (("--kv", "f16,q4_0", "--no-flash-attention"), "needs flash attention"),
        (("--to", "mlx", "--slots", "2"), "serves one sequence"),
    ],
)
def test_what_no_program_can_be_told(run, reasoner, options, said):
    done = run("fit", reasoner, "--device", "pi5-8gb", *options)
    assert done.code == 2
    assert said in done.err


def test_json_has_what_the_verdict_was_reckoned_from(run, reasoner):
    command = ("--device", "2x rtx-4090", "--require", "ctx>=1024", "--json")
    found = run("fit", reasoner, *command).result
    assert found["context_length"] == 2048
    assert [card["bandwidth"]["value"] for card in found["hardware"]["cards"]] == [1008 * 10**9] * 2
    assert found["required"] == [{"figure": "ctx", "operator": ">=", "value": 1024.0}]
    assert found["cache"] == [{"layers": 4, "k_elements": 128, "v_elements": 128, "window": None}]
    ranking = run("fit", *command).result
    assert ranking["context"] == 1024
    assert ranking["models"][0]["unmet"] == []
