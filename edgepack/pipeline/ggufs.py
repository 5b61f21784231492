"""The work on a GGUF that is taken for a model: it is weighed as it is, and quantized, as
llama-quantize would do it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Never

from edgepack.errors import Unsupported, UsageError
from edgepack.formats import Artifact, Format, Options, Weights
from edgepack.formats.gguf import Gguf, GgufModel, GgufShape, open_gguf, read_shape
from edgepack.hardware import Hardware
from edgepack.memory.law import CacheGroup, cache_law
from edgepack.models import Source
from edgepack.pipeline.choice import Choice, Chosen
from edgepack.pipeline.fit import Settings, Weighed, weighed
from edgepack.pipeline.progress import Report
from edgepack.pipeline.quantize import Planned, plan, write


class GgufWork:
    """Only the heads of its files are read, when they are first asked for.

    There is no checkpoint to measure against, so nothing is packed. To be weighed it may be of any
    architecture whose keys are known; to be quantized, of one whose rules are.
    """

    def __init__(self, source: str) -> None:
        self._path = Path(source).expanduser()

    @cached_property
    def shape(self) -> GgufShape:
        """Raises as read_shape does."""
        return read_shape(self._path)

    @cached_property
    def _opened(self) -> GgufModel:
        """Raises as open_gguf does."""
        return open_gguf(self._path)

    @property
    def name(self) -> str:
        return self.shape.name

    @property
    def parameters(self) -> int:
        return self.shape.decoder.parameters

    @property
    def context_length(self) -> int:
        return self.shape.decoder.context_length

    @property
    def cache(self) -> tuple[CacheGroup, ...]:
        return cache_law(self.shape.decoder)

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
        """The one row of the file as it is. Raises UsageError for a choice: it is made already."""
        form, shape = self._only_format(choice), self.shape
        return (weighed(shape.decoder, hardware, settings, form, shape.scheme),)

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

    def _only_format(self, choice: Choice) -> Format:
        for form, scheme in choice.picks():
            if form.name != Gguf.name:
                raise UsageError(
                    f"{self._path.name} is a GGUF, and --to {form.name} was asked for",
                    "give the checkpoint it came from",
                )
            if scheme or choice.overrides or choice.imatrix:
                raise UsageError(
                    f"{self._path.name} is weighed as it is, and other types were asked for",
                    "leave them out, or give the checkpoint it came from",
                )
        return Gguf()

    def _refuse(self) -> Never:
        raise Unsupported(
            f"{self._path.name} is a GGUF: it is weighed, quantized, and its tensors are compared",
            "for the rest give the checkpoint it came from",
        )
