"""The verb `fit --measure`: what was predicted for this machine, and what running it took."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from edgepack.errors import UsageError
from edgepack.fidelity.runtimes import llama_library
from edgepack.fidelity.runtimes.trial import Trial, run_trial
from edgepack.formats import DEFAULTS
from edgepack.hardware import Hardware
from edgepack.memory import Footprint, Loads, Speed, decode_speed, place, prefill_speed
from edgepack.memory.requirements import requirements
from edgepack.models import Decoder
from edgepack.pipeline.choice import Choice
from edgepack.pipeline.device import Target
from edgepack.pipeline.fit import FitTable, Settings, Weighed, does_not_fit
from edgepack.pipeline.ggufs import GgufWork
from edgepack.pipeline.progress import Report, silent
from edgepack.pipeline.staging import check_space
from edgepack.pipeline.work import Work, work_on
from edgepack.units import MIB

FORMAT: Final = "gguf"
USUAL: Final = "Q4_K_M"
"""The scheme of a checkpoint where none was asked for."""

SHARE, FLOOR = 0.01, 16 * MIB
"""How far the memory law may be off and still have held: the larger of the two."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One row of a fit, and the trial of it on the processor.

    `decode` and `prefill` are predicted for the trial's depth and prompt, None where a figure of
    the machine is unknown. `read` is bytes that a token read at that depth, `read_full` at a full
    context; `bandwidth` bytes per second.
    """

    table: FitTable
    trial: Trial
    decode: Speed | None
    prefill: Speed | None
    read: int
    read_full: int
    bandwidth: int | None

    @property
    def footprint(self) -> Footprint:
        return self.table.rows[0].fit.footprint

    @property
    def allocated(self) -> int:
        """Bytes predicted of all that llama.cpp tells of: what `Trial.buffers` counts."""
        return self.footprint.total - self.footprint.overhead

    @property
    def difference(self) -> float:
        """By what share of the peak the prediction is above it."""
        return self.footprint.total / self.trial.peak - 1

    @property
    def enough(self) -> bool:
        """Whether no more was resident than predicted."""
        most = self.trial.peak
        return most <= self.footprint.total + _tolerance(most)

    @property
    def exact(self) -> bool:
        """Whether llama.cpp allocated what was predicted."""
        told = self.trial.buffers.total
        return abs(self.allocated - told) <= _tolerance(told)

    @property
    def efficiency(self) -> float | None:
        """Share of the bandwidth that became tokens: tokens per second x bytes read / bandwidth."""
        if not self.bandwidth:
            return None
        return self.trial.decode * self.read / self.bandwidth

    @property
    def decode_full(self) -> float:
        """Tokens per second at a full context, at the same bytes per second."""
        return self.trial.decode * self.read / self.read_full


def measure(
    model: str,
    target: Target,
    settings: Settings,
    choice: Choice,
    *,
    require: str | None = None,
    report: Report = silent,
) -> Measured:
    """Run `model`, a GGUF or a checkpoint, here, and weigh it as it was run.

    A checkpoint is first written to a temporary folder. Raises UsageError for another device and
    for other formats, Missing without the runtime, DoesNotFit where it would not fit, and what
    opening, writing and running raise. Nothing is left behind.
    """
    _check_asked(target, choice)
    if settings.projector_bytes:
        raise UsageError("--measure runs a model without its projector", "leave out --projector")
    llama_library.require()
    asked = () if require is None else requirements(require)
    work, here = work_on(model), _processor(target.hardware())
    row = _row(work, here, settings, choice)
    if not row.fit.fits:
        raise does_not_fit(row.fit, here)
    with _file(model, work, row, choice, report) as entry:
        report("measure", 0, 1)
        decoder = _decoder(work)
        trial = run_trial(entry, row.deployment, here.cpu.physical_cores.value)
        report("measure", 1, 1)
    table = FitTable(
        work.name, work.parameters, work.context_length, here, (row,), asked, cache=work.cache
    )
    return _compared(table, trial, decoder)


def _check_asked(target: Target, choice: Choice) -> None:
    if target != Target():
        raise UsageError(
            "--measure runs the model on this machine, and another was described",
            "leave out --device, --memory and --bandwidth",
        )
    for form in choice.formats:
        if form.name != FORMAT:
            raise UsageError(
                f"--measure runs llama.cpp, and --to {form.name} was asked for",
                f"measure with --to {FORMAT}",
            )


def _processor(hardware: Hardware) -> Hardware:
    """The machine without its accelerators: the runtime here works on the processor."""
    return replace(hardware, accelerators=())


def _row(work: Work, here: Hardware, settings: Settings, choice: Choice) -> Weighed:
    """The one that is measured. Of a checkpoint, the scheme asked for, else the usual one."""
    if isinstance(work, GgufWork):
        (row,) = work.table(here, settings, choice)
        return row
    ((_, scheme),) = choice.picks()
    if scheme is None and choice.scheme is None and choice.to == (FORMAT,):
        choice = replace(choice, scheme=USUAL)
    (row,) = work.weigh(here, settings, choice)
    return row


@contextmanager
def _file(model: str, work: Work, row: Weighed, choice: Choice, report: Report) -> Iterator[Path]:
    """The GGUF itself, or one that a checkpoint is written to for as long as it is needed."""
    if isinstance(work, GgufWork):
        yield Path(model).expanduser()
        return
    chosen = ((row.form, row.scheme),)
    options = replace(DEFAULTS, importance=choice.importance())
    with tempfile.TemporaryDirectory(prefix="edgepack-") as name:
        folder = Path(name)
        check_space(folder / "out", sum(each.space for each in work.plan(chosen, options)))
        (artifact,) = work.write(chosen, options, folder, report)
        yield artifact.entry(folder)


def _decoder(work: Work) -> Decoder:
    return work.shape.decoder if isinstance(work, GgufWork) else work.weights.decoder


def _compared(table: FitTable, trial: Trial, decoder: Decoder) -> Measured:
    """The trial beside the prediction for as deep a context, for one sequence."""
    (row,) = table.rows
    loads = Loads(decoder, row.scheme, row.deployment)

    def alone(context: int) -> tuple[Speed | None, int]:
        deployment = replace(row.deployment, context=context, slots=1)
        placement = place(loads.at(deployment), table.hardware, deployment.program)
        return decode_speed(placement), sum(part.read for part in placement.parts)

    decode, read = alone(trial.depth)
    _, full = alone(row.deployment.context)
    prompt = replace(row.deployment, context=trial.prompt)
    return Measured(
        table=table,
        trial=trial,
        decode=decode,
        prefill=prefill_speed(decoder, prompt, row.fit.placement),
        read=read,
        read_full=full,
        bandwidth=table.hardware.bandwidth.value,
    )


def _tolerance(size: int) -> float:
    return max(SHARE * size, FLOOR)
