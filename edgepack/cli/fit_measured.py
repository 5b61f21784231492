"""`edgepack fit --measure`: what was predicted, and what a few seconds of it were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgepack.cli.output import Answer, progress
from edgepack.cli.tables import table, write
from edgepack.units import format_bytes

if TYPE_CHECKING:
    from edgepack.memory import Speed
    from edgepack.pipeline.choice import Choice
    from edgepack.pipeline.device import Target
    from edgepack.pipeline.fit import Settings
    from edgepack.pipeline.measurement import Measured


def measured(
    model: str,
    place: Target,
    settings: Settings,
    choice: Choice,
    require: str | None,
    *,
    quiet: bool,
) -> Answer:
    from edgepack.pipeline.measurement import measure

    with progress(quiet=quiet) as report:
        found = measure(model, place, settings, choice, require=require, report=report)
    return Answer(_data(found), lambda: _show(found), error=found.table.error)


def _data(found: Measured) -> dict[str, Any]:
    """The fit as without --measure, and `measurement` beside it."""
    from edgepack.cli.fit import table_data
    from edgepack.cli.plain import plain

    measurement = {
        **plain(found.trial),
        "depth": found.trial.depth,
        "difference": found.difference,
        "enough": found.enough,
        "exact": found.exact,
        "predicted_decode": plain(found.decode),
        "predicted_prefill": plain(found.prefill),
        "bytes_read": found.read,
        "efficiency": found.efficiency,
        "decode_full_context": found.decode_full,
    }
    return {**table_data(found.table), "measurement": measurement}


def _show(found: Measured) -> None:
    """The fit, then memory and speed, each predicted and measured, and whether that held."""
    from edgepack.cli import fit_tables

    trial = found.trial
    fit_tables.fitted(found.table)
    write(
        f"measured in {trial.runtime}, on the CPU with {trial.threads} "
        f"thread{'s' * (trial.threads > 1)}, loaded in {trial.load_seconds:.1f} s",
        table(("memory", "predicted", "measured", "difference"), _memory(found)),
        table(("tokens/s", "predicted", "measured", ""), _speeds(found)),
    )
    if found.efficiency is not None:
        write(
            f"{found.efficiency:.0%} of the bandwidth became tokens; at a full context that is "
            f"{fit_tables.rate(found.decode_full)} tokens/s"
        )
    write(*_verdicts(found))


def _memory(found: Measured) -> list[tuple[str, ...]]:
    """What llama.cpp says it allocated, part by part, and the most that was resident at once."""
    predicted, told = found.footprint, found.trial.buffers
    parts = [
        ("weights", predicted.weights, told.weights),
        ("KV cache", predicted.kv, told.kv),
        ("state", predicted.state, told.state),
        ("compute", predicted.compute, told.compute),
        ("output", predicted.output, told.output),
        ("peak of the process", predicted.total, found.trial.peak),
    ]
    return [
        (name, format_bytes(law), format_bytes(real), f"{law / real - 1:+.1%}" if real else "")
        for name, law, real in parts
        if law or real
    ]


def _speeds(found: Measured) -> list[tuple[str, ...]]:
    from edgepack.cli.fit_tables import rate, speed_range

    trial = found.trial
    rows = (
        (f"prefill of {trial.prompt} tokens", found.prefill, trial.prefill),
        (f"decode, {trial.depth} tokens deep", found.decode, trial.decode),
    )
    return [(name, speed_range(law), rate(real), _placed(law, real)) for name, law, real in rows]


def _placed(law: Speed | None, real: float) -> str:
    if law is None:
        return ""
    if real < law.low:
        return "below it"
    return "above it" if real > law.high else "within"


def _verdicts(found: Measured) -> list[str]:
    """Whether the memory law held: what is allocated, and what is resident."""
    law, told = format_bytes(found.allocated), format_bytes(found.trial.buffers.total)
    allocated = f"llama.cpp allocated {told}, {law} were predicted"
    lines = [f"the prediction {'held' if found.exact else 'did not hold'}: {allocated}"]
    if not found.enough:
        peak, total = format_bytes(found.trial.peak), format_bytes(found.footprint.total)
        lines.append(f"the process took more than predicted: {peak}, not {total}")
    elif found.trial.peak < found.trial.buffers.total:
        lines.append(
            "less was resident than was allocated: a prompt this long, with logits of its last "
            "token alone, does not touch all of it"
        )
    return lines
