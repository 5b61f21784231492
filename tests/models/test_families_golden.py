"""Every family's tensors against transformers' own: fixtures/scripts/family_shapes.py."""

from __future__ import annotations

import json
from collections import defaultdict
from math import prod
from pathlib import Path

import pytest

from edgepack.models import families
from edgepack.models.config import Config

GOLDEN = json.loads(
    (Path(__file__).parents[2] / "fixtures" / "golden" / "families.json").read_text("utf-8")
)
NOT_IN_GOLDEN = {"gemma3n", "ministral3"}  # the first needs timm, the second transformers 5
NOT_LISTED = {
    *("rope_factors_long", "rope_factors_short"),  # of `phi3` they are; any may be so scaled
    *("ffn_gate", "ffn_up", "ffn_down"),  # a plain layer among experts: it runs no such mixture
}


def decoder(family):
    return families.decoder(Config(Path("config.json"), GOLDEN[family]["config"]))


def test_every_family_is_compared():
    assert set(GOLDEN) == set(families.known()) - NOT_IN_GOLDEN


@pytest.mark.parametrize("family", GOLDEN)
def test_sources_are_exactly_the_checkpoints_tensors(family):
    stored = GOLDEN[family]["tensors"]
    made = decoder(family)
    assert {source for weight in made.weights for source in weight.sources} == set(stored)
    assert made.parameters == sum(prod(shape) for shape in stored.values())


@pytest.mark.parametrize("family", GOLDEN)
def test_shapes_are_the_checkpoints_and_parts_add_up(family):
    stored = GOLDEN[family]["tensors"]
    parts = defaultdict(int)
    for weight in decoder(family).weights:
        for source in weight.sources:
            parts[source] += weight.elements // max(weight.stacked, 1)
            if weight.stacked:
                assert weight.shape == (weight.stacked, *stored[source])
            elif not weight.split:
                assert weight.shape == tuple(stored[source]), weight
    assert parts == {name: prod(shape) for name, shape in stored.items()}


@pytest.mark.parametrize("family", GOLDEN)
def test_transformers_5_spells_the_same_decoder(family):
    spelled = families.decoder(Config(Path("config.json"), GOLDEN[family]["config_5"]))
    assert spelled == decoder(family)


@pytest.mark.parametrize("family", GOLDEN)
def test_no_two_tensors_have_one_name(family):
    names = [weight.name for weight in decoder(family).weights]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("family", GOLDEN)
def test_roles_are_those_that_llama_cpp_lists(family):
    constants = pytest.importorskip("gguf.constants")
    made = decoder(family)
    architecture = {name: key for key, name in constants.MODEL_ARCH_NAMES.items()}
    listed = constants.MODEL_TENSORS[architecture[made.gguf.architecture]]
    roles = {constants.TENSOR_NAMES[tensor].removeprefix("blk.{bid}.") for tensor in listed}
    found = {weight.role.removesuffix(".weight").removesuffix(".bias") for weight in made.weights}
    assert found - NOT_LISTED <= roles
