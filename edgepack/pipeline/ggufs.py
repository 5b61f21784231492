"""The work on a GGUF that is taken for a model: it is quantized, as llama-quantize would do it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Never

from edgepack.errors import Unsupported
from edgepack.formats import Artifact, Options, Weights
from edgepack.formats.gguf import open_gguf
from edgepack.hardware import Hardware
from edgepack.models import Source
from edgepack.pipeline.choice import Choice, Chosen
from edgepack.pipeline.fit import Settings, Weighed
from edgepack.pipeline.progress import Report
from edgepack.pipeline.quantize import Planned, plan, write


class GgufWork:
    """Its head is read at once. There is no checkpoint to measure against, so nothing is packed."""

    def __init__(self, source: str) -> None:
        """Raises as open_gguf does."""
        self._opened = open_gguf(Path(source).expanduser())
        self.name, decoder = self._opened.name, self._opened.decoder
        self.parameters, self.context_length = decoder.parameters, decoder.context_length

    @property
    def model(self) -> Source:
        self._refuse()

    @property
    def weights(self) -> Weights:
        return self._opened

    @property
    def sources(self) -> Iterable[Path]:
        return self._opened.stamps

    def schemes(self, choice: Choice) -> Chosen:
        return choice.schemes()

    def made_by(self, chosen: Chosen) -> str | None:
        return None

    def require(self, chosen: Chosen) -> None:
        """Nothing: quantizing is all of it."""

    def table(self, hardware: Hardware, settings: Settings, choice: Choice) -> tuple[Weighed, ...]:
        self._refuse()

    def weigh(self, hardware: Hardware, settings: Settings, choice: Choice) -> tuple[Weighed, ...]:
        self._refuse()

    def plan(self, chosen: Chosen, options: Options) -> tuple[Planned, ...]:
        return plan(self._opened, chosen, options)

    def write(
        self, chosen: Chosen, options: Options, folder: Path, report: Report
    ) -> tuple[Artifact, ...]:
        return write(self._opened, chosen, options, folder, report)

    def settle(
        self, weighed: Sequence[Weighed], artifacts: Sequence[Artifact], hardware: Hardware
    ) -> tuple[Weighed, ...]:
        return tuple(weighed)

    def scales(self, corpus: Path | None) -> Never:
        self._refuse()

    def _refuse(self) -> Never:
        raise Unsupported(
            f"{self.name} is a GGUF: it is quantized, and its tensors are compared",
            "for the rest give the checkpoint it came from",
        )
