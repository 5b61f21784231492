"""The law of models without a cache: it adds up, and never falls."""

import pytest

from edgepack.memory import task
from edgepack.models import Outline
from edgepack.quant.schemes.exported import F32, FAITHFUL, INT8
from edgepack.units import MIB

MINILM = Outline("feature-extraction", "bert", 30522, 384, 12, 1536, 512, pooling="mean")
WEIGHTS = {F32.name: 90_261_504, INT8.name: 22_761_231}


@pytest.mark.parametrize(("scheme", "measured"), [(F32, 196), (INT8, 127)])
def test_measured_memory_is_within_the_law(scheme, measured):
    total = task.footprint(MINILM, WEIGHTS[scheme.name], scheme, 512).total
    assert measured * MIB <= total <= 1.2 * measured * MIB


@pytest.mark.parametrize("scheme", FAITHFUL)
def test_longer_texts_never_need_less(scheme):
    totals = [task.footprint(MINILM, 10**8, scheme, n).total for n in range(1, 513)]
    assert totals == sorted(totals)


@pytest.mark.parametrize("spare", [-1, 0, 1])
def test_the_longest_text_is_the_last_that_fits(device, spare):
    budget = task.footprint(MINILM, WEIGHTS[F32.name], F32, 100).total + spare
    hardware = device(budget)
    fit = task.fit(MINILM, WEIGHTS[F32.name], F32, hardware, task.deployment(MINILM))
    assert not fit.fits
    assert fit.longest_context == (99 if spare < 0 else 100)


def test_no_cache_is_kept():
    footprint = task.footprint(MINILM, 10**8, F32, 512)
    assert (footprint.kv, footprint.state) == (0, 0)
    assert task.deployment(MINILM).context == 512
