"""The law against llama.cpp's own planner (fixtures/scripts/plan_memory.py)."""

import pytest

from edgepack.memory import (
    Deployment,
    compute_bytes,
    kv_cache_bytes,
    output_bytes,
    weight_bytes,
)
from edgepack.quant.schemes.gguf import scheme
from edgepack.units import MIB

PRINTED = 0.0051  # MiB: the planner prints two decimals


@pytest.fixture(scope="module")
def plans(golden):
    """(model, deployment, the planner's figures), every one of them."""
    models, settings = golden
    return [
        (model, Deployment(**setting), plan)
        for model in models
        for setting, plan in zip(settings, model["plans"], strict=True)
    ]


def test_there_are_many_plans(plans):
    assert len(plans) >= 200
    assert {model["architecture"] for model, _, _ in plans} >= {"llama", "qwen2", "qwen3"}


def test_cells_are_exact(plans):
    for model, deployment, plan in plans:
        assert deployment.cells == plan["cells"], (model["name"], deployment)


def test_kv_cache_is_exact(plans):
    for model, deployment, plan in plans:
        ours = kv_cache_bytes(model["decoder"], deployment) / MIB
        assert abs(ours - plan["kv_mib"]) <= PRINTED, (model["name"], deployment)


def test_output_buffer_is_exact(plans):
    for model, deployment, plan in plans:
        ours = output_bytes(model["decoder"], deployment) / MIB
        assert abs(ours - plan["output_mib"]) <= PRINTED, (model["name"], deployment)


def test_weights_are_exact(golden):
    models, _ = golden
    for model in models:
        for name, mib in model["weights_mib"].items():
            ours = weight_bytes(model["decoder"], scheme(name))
            assert ours // MIB == mib, (model["name"], name)


def test_compute_is_never_short_and_at_most_two_residuals_over(plans):
    """0.2 MiB is the planner's own room for positions, indices and rotations of the cache."""
    for model, deployment, plan in plans:
        over = compute_bytes(model["decoder"], deployment) / MIB - plan["compute_mib"]
        residual = 4 * deployment.batch_tokens * model["width"] / MIB
        assert -0.2 <= over <= 2 * residual + 0.2, (model["name"], deployment)


@pytest.mark.parametrize("held_out", [False, True])
def test_totals_are_within_one_percent_or_16_mib(plans, held_out):
    chosen = [plan for plan in plans if plan[0]["held_out"] is held_out]
    assert len(chosen) >= 60
    for model, deployment, plan in chosen:
        decoder = model["decoder"]
        for name, weights in model["weights_mib"].items():
            theirs = weights + plan["kv_mib"] + plan["compute_mib"] + plan["output_mib"]
            ours = (
                weight_bytes(decoder, scheme(name))
                + kv_cache_bytes(decoder, deployment)
                + compute_bytes(decoder, deployment)
                + output_bytes(decoder, deployment)
            ) / MIB
            assert abs(ours - theirs) <= max(0.01 * theirs, 16), (model["name"], deployment)
