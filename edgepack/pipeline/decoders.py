"""The work on a decoder: each step as the module of its verb has it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from edgepack import models

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from edgepack.fidelity import FidelityReport, Profile
    from edgepack.formats import Artifact, Options, Weights
    from edgepack.hardware import Hardware
    from edgepack.memory.law import CacheGroup
    from edgepack.models import Checkpoint
    from edgepack.pipeline.choice import Choice, Chosen
    from edgepack.pipeline.fit import Settings, Weighed
    from edgepack.pipeline.progress import Report
    from edgepack.pipeline.quantize import Planned
    from edgepack.pipeline.validate import Corpus, ValidateRequest


class DecoderWork:
    """Of `source` config.json is read at once, the rest when `model` is asked for.

    What weighs, encodes and measures is imported when it is first needed: no verb needs all.
    """

    def __init__(self, source: str) -> None:
        """Raises as models.read_decoder does."""
        self._source = source
        self.name, self._decoder = models.read_decoder(source)
        self.parameters = self._decoder.parameters
        self.context_length = self._decoder.context_length

    @property
    def cache(self) -> tuple[CacheGroup, ...]:
        from edgepack.memory.law import cache_law

        return cache_law(self._decoder)

    @cached_property
    def model(self) -> Checkpoint:
        found = models.open_checkpoint(self._source)
        self._decoder = found.decoder  # which knows its dtype, if config.json does not
        return found

    @property
    def weights(self) -> Weights:
        return self.model

    @property
    def sources(self) -> Iterable[Path]:
        return self.model.stamps

    def schemes(self, choice: Choice) -> Chosen:
        return choice.schemes()

    def made_by(self, chosen: Chosen) -> str | None:
        return None

    def require(self, chosen: Chosen) -> None:
        from edgepack.fidelity import runtimes

        for form, _ in chosen:
            runtimes.require(form.name)

    def table(self, hardware: Hardware, settings: Settings, choice: Choice) -> tuple[Weighed, ...]:
        from edgepack.pipeline.fit import table

        return table(self._decoder, hardware, settings, choice)

    def weigh(self, hardware: Hardware, settings: Settings, choice: Choice) -> tuple[Weighed, ...]:
        from edgepack.pipeline.fit import weigh

        return weigh(self._decoder, hardware, settings, choice)

    def plan(self, chosen: Chosen, options: Options) -> tuple[Planned, ...]:
        from edgepack.pipeline.quantize import plan

        return plan(self.model, chosen, options)

    def write(
        self, chosen: Chosen, options: Options, folder: Path, report: Report
    ) -> tuple[Artifact, ...]:
        from edgepack.pipeline.quantize import write

        return write(self.model, chosen, options, folder, report)

    def settle(
        self, weighed: Sequence[Weighed], artifacts: Sequence[Artifact], hardware: Hardware
    ) -> tuple[Weighed, ...]:
        """As they are: a decoder's bytes are known before it is written."""
        return tuple(weighed)

    def scales(self, corpus: Path | None) -> DecoderScales:
        from edgepack.pipeline.validate import read_corpus

        return DecoderScales(self.model, read_corpus(self.model, corpus))


@dataclass(frozen=True, slots=True)
class DecoderScales:
    """Token by token, against the reference in numpy."""

    checkpoint: Checkpoint
    corpus: Corpus

    @property
    def sha256(self) -> str:
        return self.corpus.sha256

    def measure(
        self,
        entries: Sequence[Path],
        limits: Profile,
        report: Report,
        request: ValidateRequest | None = None,
    ) -> tuple[FidelityReport, ...]:
        from edgepack.pipeline.validate import measure

        return measure(entries, self.checkpoint, self.corpus, limits, report, request)
