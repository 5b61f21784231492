"""`profiles list` and `profiles show`, and what `fit` takes for a device."""

from __future__ import annotations

import pytest


def test_the_list_has_memory_and_bandwidth(run):
    lines = run("profiles", "list").out.splitlines()
    row = next(line.split() for line in lines if line.split()[:1] == ["rtx-4090"])
    assert row[-4:] == ["23.5", "GiB", "1008.0", "GB/s"]
    devices = run("profiles", "list", "--json").result["devices"]
    assert {
        "name": "rtx-4090",
        "runs_on": "NVIDIA GeForce RTX 4090",
        "memory": (24564 - 512) * 1024**2,
        "bandwidth": 1008 * 10**9,
    } in devices


def test_a_broken_profile_of_the_user_hides_no_other(run, tmp_path):
    folder = tmp_path / "edgepack" / "devices"
    folder.mkdir(parents=True)
    (folder / "broken.toml").write_text("[memory]\ntotal_mib = 0\n")
    done = run("profiles", "list", "--json", XDG_CONFIG_HOME=str(tmp_path))
    rows = {row["name"]: row for row in done.result["devices"]}
    assert "total_mib is 0" in rows["broken"]["error"]
    assert rows["rtx-4090"]["memory"]
    assert "total_mib is 0" in run("profiles", "list", XDG_CONFIG_HOME=str(tmp_path)).out


def test_one_device_with_its_npu_and_its_arithmetic(run):
    shown = run("profiles", "show", "core-ultra-7-258v-32gb").out
    assert "Intel AI Boost, 47 TOPS (profile)" in shown
    assert "32.0 TFLOPS (profile)" in shown
    found = run("profiles", "show", "Core Ultra 7 258V 32GB", "--json").result
    assert found["npus"] == [
        {"name": "Intel AI Boost", "tops": {"value": 47.0, "origin": "profile"}}
    ]
    assert found["accelerators"][0]["compute"]["value"] == 32 * 10**12


def test_the_sources_of_a_profile(run):
    assert (
        "# NVIDIA GeForce RTX 4090 (desktop)" in run("profiles", "show", "rtx-4090", "--source").out
    )
    found = run("profiles", "show", "rtx-4090", "--source", "--json").result
    assert "https://" in found["source"]


def test_two_cards_are_one_device(run, reasoner):
    found = run("profiles", "show", "2x rtx-4090", "--json").result
    assert len(found["accelerators"]) == 2
    assert (
        run("fit", reasoner, "--device", "2x RTX 4090", "--json").result["device"] == "2x rtx-4090"
    )


def test_a_device_by_its_figures(run, reasoner):
    stated = ("--memory", "24G", "--bandwidth", "936.2GB/s")
    done = run("fit", reasoner, *stated, "--json").result
    assert done["device"] == "a device, 24576 MiB and 936.2 GB/s stated"
    fit = done["fits"][0]
    assert fit["headroom"] + fit["total"] == 24 * 1024**3


def test_a_stated_bandwidth_sets_the_speed(run, reasoner):
    def speed(*options: str) -> float:
        fits = run("fit", reasoner, "--device", "rtx-4060", *options, "--json").result["fits"]
        return fits[0]["decode"]["high"]

    assert speed("--bandwidth", "544G") == pytest.approx(2 * speed(), rel=1e-6)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--device", "2x rtx4090"), "did you mean 'rtx-4090'?"),
        (("--device", "rtx-4090 +"), "without a device beside it"),
        (("--bandwidth", "fast"), "'fast' is not a bandwidth"),
    ],
)
def test_what_is_no_device_is_a_usage_error(run, reasoner, options, said):
    done = run("fit", reasoner, *options)
    assert done.code == 2
    assert said in done.err


def test_an_unknown_name_offers_the_nearest_device_or_model(run):
    done = run("profiles", "show", "lama-3.1-8b")
    assert done.code == 2
    assert "unknown device or model 'lama-3.1-8b'" in done.err
    assert "did you mean 'llama-3.1-8b'?" in done.err
    assert "did you mean 'rtx-4090'?" in run("profiles", "show", "rtx4090").err


def test_a_name_like_none_does_not_bring_them_all(run):
    done = run("profiles", "show", "zzzzzz")
    assert done.code == 2
    assert len(done.err.splitlines()) == 2
    assert "edgepack profiles list" in done.err
    assert "rtx-4090" not in done.err
    assert "rtx-4090" not in run("fit", "--device", "zzzzzz").err
