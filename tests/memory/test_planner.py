"""The law against llama.cpp's own planner (fixtures/scripts/plan_memory.py).

    python -m pytest tests/memory/test_planner.py -s -k table

prints by how much they differ.
"""

import sys
from collections import defaultdict
from statistics import fmean

import pytest

from edgepack.memory import (
    Deployment,
    compute_bytes,
    kv_cache_bytes,
    output_bytes,
    state_bytes,
    weight_bytes,
)
from edgepack.models.features import PLAIN, features
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
        if plan is not None
    ]


@pytest.fixture(scope="module")
def totals(golden, plans):
    """(model, deployment, our MiB, the planner's MiB) at Q8_0 and at F16."""

    def all_of():
        weights = {
            (model["name"], name): weight_bytes(model["decoder"], scheme(name)) / MIB
            for model in golden[0]
            for name in model["weights_mib"]
        }
        for model, deployment, plan in plans:
            decoder = model["decoder"]
            ours = (
                kv_cache_bytes(decoder, deployment)
                + state_bytes(decoder, deployment)
                + compute_bytes(decoder, deployment)
                + output_bytes(decoder, deployment)
            ) / MIB
            for name in model["weights_mib"]:
                held = weights[model["name"], name]
                yield model, deployment, held + ours, held + sum(plan[1:])

    return list(all_of())


def test_there_are_many_plans(plans):
    assert len(plans) >= 32 * 13
    assert len({model["architecture"] for model, _, _ in plans}) >= 20


def cells(decoder, deployment):
    """Of one cache for full attention and one for windows, as far as there are layers for them."""
    kinds = {
        layer.attention.window or layer.attention.chunk
        for layer in decoder.layers
        if layer.attention.heads
    }
    return sum(deployment.window_cells(window) for window in kinds)


def test_cells_are_exact(plans):
    for model, deployment, plan in plans:
        assert cells(model["decoder"], deployment) == plan[0], (model["name"], deployment)


def test_kv_cache_is_exact(plans):
    """The planner rounds each of two caches."""
    for model, deployment, plan in plans:
        ours = kv_cache_bytes(model["decoder"], deployment) / MIB
        assert abs(ours - plan[1]) <= 2 * PRINTED, (model["name"], deployment)


def test_recurrent_state_is_exact(plans):
    for model, deployment, plan in plans:
        ours = state_bytes(model["decoder"], deployment) / MIB
        assert abs(ours - plan[2]) <= PRINTED, (model["name"], deployment)


def test_output_buffer_is_exact(plans):
    for model, deployment, plan in plans:
        ours = output_bytes(model["decoder"], deployment) / MIB
        assert abs(ours - plan[4]) <= PRINTED, (model["name"], deployment)


def twice(decoder, name):
    """Bytes that the planner counts and no file has.

    Where layers have embeddings of their own, llama.cpp makes the tied head before the embedding
    and counts both, which map the same pages; and the table of a checkpoint with fewer rows than
    the vocabulary is padded.
    """
    shapes = {weight.role: weight.shape for weight in decoder.weights if weight.layer is None}
    if "per_layer_token_embd.weight" not in shapes:
        return 0
    rows, columns = shapes["per_layer_token_embd.weight"]
    padding = (decoder.vocabulary - rows, columns)
    encoding = scheme(name).base
    return sum(map(encoding.tensor_bytes, (shapes["token_embd.weight"], padding)))


def test_weights_are_exact(golden):
    models, _ = golden
    for model in models:
        for name, mib in model["weights_mib"].items():
            decoder = model["decoder"]
            ours = weight_bytes(decoder, scheme(name)) + twice(decoder, name)
            assert ours // MIB == mib, (model["name"], name)


def test_compute_is_hardly_short_and_at_most_four_residuals_over(plans):
    """0.7 MiB is the planner's own room for positions, indices and rotations of the cache.

    Without flash attention scores may fall between holes: the totals below bound that.
    """
    for model, deployment, plan in plans:
        over = compute_bytes(model["decoder"], deployment) / MIB - plan[3]
        residual = 4 * deployment.batch_tokens * model["decoder"].width / MIB
        assert over <= 4 * residual + 0.7, (model["name"], deployment)
        if deployment.flash_attention:
            assert over >= -0.7, (model["name"], deployment)


def test_compute_of_the_plainest_is_at_most_two_residuals_over(plans):
    """Those that every reader knows: no part of the law that others need may blur theirs."""
    plain = [
        each for each in plans if features(each[0]["decoder"]) <= PLAIN and each[1].flash_attention
    ]
    assert len(plain) >= 200
    for model, deployment, plan in plain:
        over = compute_bytes(model["decoder"], deployment) / MIB - plan[3]
        residual = 4 * deployment.batch_tokens * model["decoder"].width / MIB
        assert -0.2 <= over <= 2 * residual + 0.2, (model["name"], deployment)


@pytest.mark.parametrize("held_out", [False, True])
def test_totals_are_within_one_percent_or_16_mib(totals, held_out):
    chosen = [each for each in totals if each[0]["held_out"] is held_out]
    assert len(chosen) >= 500
    for model, deployment, ours, theirs in chosen:
        assert abs(ours - theirs) <= max(0.01 * theirs, 16), (model["name"], deployment)


def test_table_of_errors(totals):
    """Per architecture and context, of the total with weights at Q8_0 and F16: mean and worst."""
    errors = defaultdict(list)
    for model, deployment, ours, theirs in totals:
        error = ours - theirs, 100 * (ours - theirs) / theirs
        for key in (model["architecture"], "all, held out" if model["held_out"] else "all, fitted"):
            errors[key].append(error)
        errors[f"context {deployment.context:>6}"].append(error)
    lines = [f"{'':<16}{'plans':>6}{'mean MiB':>10}{'worst':>8}{'mean %':>9}{'worst':>8}"]
    for key, found in sorted(errors.items()):
        mib, share = zip(*found, strict=True)
        worst, most = max(mib, key=abs), max(share, key=abs)
        lines.append(
            f"{key:<16}{len(found):>6}{fmean(map(abs, mib)):>10.1f}{worst:>+8.1f}"
            f"{fmean(map(abs, share)):>9.2f}{most:>+8.2f}"
        )
        assert fmean(map(abs, share)) < 0.5, key
    sys.stdout.write("\n".join(["", *lines, ""]))
