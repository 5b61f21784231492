"""A draft beside its target: both weighed on one device, under schemes of one name."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgepack import models
from edgepack.errors import UsageError
from edgepack.hardware import Hardware
from edgepack.memory.law import PROCESS_BYTES
from edgepack.memory.speculative import Pair, pair, vocabularies_differ
from edgepack.pipeline.choice import Choice
from edgepack.pipeline.fit import Settings, table


@dataclass(frozen=True, slots=True)
class Paired:
    """One format's scheme, of both models; `total` is the bytes of the one process with both."""

    format: str
    scheme: str
    pair: Pair
    total: int


def paired(
    target: str, draft: str, hardware: Hardware, settings: Settings, choice: Choice
) -> tuple[Paired, ...]:
    """The pair under every scheme: the draft lies where it is fastest, the target in what is left.

    Raises UsageError for vocabularies that cannot be paired, and as opening the models does.
    """
    _, large = models.read_decoder(target)
    _, small = models.read_decoder(draft)
    refusal = vocabularies_differ(large, small)
    if refusal:
        raise UsageError(f"{draft} cannot draft for {target}: {refusal}", "take one of its family")
    found = []
    blind = replace(settings, projector_bytes=0)  # a draft sees only tokens
    for row in table(small, hardware, blind, choice):
        named = f"{row.form.name}:{row.scheme.name}"
        only = replace(choice, to=(named,), scheme=None, bits=None, group=None)
        taken = [(part.place.name, part.bytes) for part in row.fit.placement.parts]
        (alone,) = table(large, hardware, settings, only)
        (beside,) = table(large, hardware.without(taken), settings, only)
        both = beside.fit.footprint.total + row.fit.footprint.total
        total = both - PROCESS_BYTES[row.deployment.program]
        together = pair(alone.fit, beside.fit, row.fit)
        found.append(Paired(row.form.name, row.scheme.name, together, total))
    return tuple(found)
