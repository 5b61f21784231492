"""Tables for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgepack.units import format_bytes, format_rate

if TYPE_CHECKING:
    from pathlib import Path

    from rich.table import Table

    from edgepack.fidelity import FidelityReport
    from edgepack.fidelity.outputs.metrics import OutputMetrics
    from edgepack.fidelity.selftest import SelfTest
    from edgepack.fidelity.tensors import EncodingDistance, TensorDistance, TensorReport
    from edgepack.formats import Artifact
    from edgepack.hardware import Figure, Hardware
    from edgepack.manifest import Verified
    from edgepack.pipeline.pack import Packed
    from edgepack.pipeline.quantize import Quantized

# More columns than any table takes. Made to fit a narrow terminal, every column would lose its end;
# whole, a row begins with its name and goes on in the next line.
WIDTH = 1000


def write(*parts: str | Table) -> None:
    """Print text and tables to stdout; colours only on a terminal (NO_COLOR is honoured)."""
    from rich.console import Console

    console = Console(width=WIDTH, highlight=False)
    for part in parts:
        # print keeps a long line whole: it may be a path, or TOML
        print(part) if isinstance(part, str) else console.print(part)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> Table:
    """A table whose first `left` columns are text and the rest figures."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    result = Table(box=SIMPLE_HEAD, pad_edge=False, show_header=any(headings))
    for index, heading in enumerate(headings):
        result.add_column(heading, justify="left" if index < left else "right", no_wrap=True)
    for row in rows:
        result.add_row(*row)
    return result


_WRITTEN: dict[str, Callable[[Any], str]] = {
    "bytes": format_bytes,
    "rate": format_rate,
    "compute": lambda value: f"{value / 10**12:.1f} TFLOPS",
}


def figure(found: Figure[Any], how: str = "") -> str:
    """A figure and where it came from: `16.0 GiB (probed)`."""
    if found.value is None or found.origin == "unknown":
        return "unknown"
    return f"{_WRITTEN.get(how, str)(found.value)} ({found.origin})"


def devices(listed: Sequence[Mapping[str, Any]]) -> None:
    """A row for each device: where a model is better off, how much it may occupy there, how fast
    that is. One that cannot be read says why."""
    rows = [
        (
            device["name"],
            device.get("runs_on", device.get("error")),
            format_bytes(device["memory"]) if device.get("memory") else "",
            format_rate(device["bandwidth"]) if device.get("bandwidth") else "",
        )
        for device in listed
    ]
    write(table(("device", "a model runs on", "memory", "bandwidth"), rows, left=2))


def hardware(found: Hardware) -> None:
    """One device: what it has, and how each figure is known."""
    rows = [
        ("CPU", figure(found.cpu.model)),
        ("instruction sets", ", ".join(found.cpu.isa) or "unknown"),
        ("physical cores", figure(found.cpu.physical_cores)),
        ("memory", figure(found.memory, "bytes")),
        ("available", figure(found.available, "bytes")),
        ("bandwidth", figure(found.bandwidth, "rate")),
        ("unified memory", "yes" if found.unified_memory else "no"),
        ("disk free", figure(found.disk_free, "bytes")),
    ]
    if found.cpu.compute.value is not None:
        rows.insert(3, ("CPU compute", figure(found.cpu.compute, "compute")))
    for accelerator in found.accelerators:
        rows += [
            ("accelerator", accelerator.name),
            ("  usable by a model", figure(accelerator.usable, "bytes")),
            ("  bandwidth", figure(accelerator.bandwidth, "rate")),
            ("  compute", figure(accelerator.compute, "compute")),
        ]
    for npu in found.npus:
        tops = "" if npu.tops.value is None else f", {npu.tops.value:g} TOPS ({npu.tops.origin})"
        rows.append(("NPU, not used", f"{npu.name}{tops}"))
    for index, place in enumerate(found.places):
        label = f"or, on the {place.name}" if index else "a model may occupy"
        rows.append((label, figure(place.memory, "bytes")))
    notes = [f"note: {note}" for note in found.notes]
    write(found.name, table(("", ""), rows, left=2), *notes)


def fidelity(report: FidelityReport) -> None:
    """The distances, then the verdict and its reasons."""
    from edgepack.cli.scores import score_lines

    measured: tuple[str | Table, ...] = ()
    if report.documents:
        measured = (
            f"{report.runtime} {report.runtime_version} against {report.reference} in float32: "
            f"{report.documents} documents, {report.tokens:,} tokens",
            _outputs(report.outputs) if report.outputs else _spans(report),
            *score_lines(report),
        )
    write(
        *measured,
        f"verdict: {report.verdict} ({report.profile})",
        *(f"  {reason}" for reason in report.reasons),
        *(f"note: {note}" for note in report.notes),
    )
    from edgepack.cli import behaviour

    behaviour.found(report)


def _spans(report: FidelityReport) -> Table:
    """Distances by span."""
    rows = [
        (
            m.scope,
            f"{m.tokens:,}",
            f"{m.kl_mean.value:.2g}",
            f"{m.kl_mean.upper:.2g}",
            f"{m.kl_p99.value:.2g}",
            f"{m.kl_max:.2g}",
            f"{m.top1.value:.2%}",
            f"{m.hard_flips.value:.3%}",
            f"{m.broken_documents.value:.2%}",
            f"{m.ln_ppl_ratio.value:+.4f}",
        )
        for m in (report.overall, *report.spans)
        if m is not None
    ]
    headings = (
        "span", "tokens", "mean KLD", "95% upper", "p99", "max",
        "top-1", "hard flips", "broken", "ln PPL",
    )  # fmt: skip
    return table(headings, rows)


def _outputs(measured: OutputMetrics) -> Table:
    """Distances of vectors, differences and first choices of logits."""
    headings = (
        "outputs", "rows", "1 - cosine", "95% upper", "max",
        "difference", "95% upper", "max", "top-1", "broken",
    )  # fmt: skip
    row = (
        measured.kind,
        f"{measured.rows:,}",
        f"{measured.distance.value:.2g}",
        f"{measured.distance.upper:.2g}",
        f"{measured.distance_max:.2g}",
        f"{measured.difference.value:.2g}",
        f"{measured.difference.upper:.2g}",
        f"{measured.difference_max:.2g}",
        f"{measured.top1.value:.2%}" if measured.top1 else "",
        f"{measured.broken_documents.value:.2%}",
    )
    return table(headings, [row])


def self_test(found: SelfTest) -> None:
    """Every limit, what was done just within it and just beyond, and whether it tripped."""
    rows = [
        (t.scope, t.figure, t.damage, *map(_short, (t.limit, t.within, t.beyond)), t.state)
        for t in found.trials
    ]
    headings = ("span", "figure", "damage", "limit", "within", "beyond", "gate")
    count = len(found.of("trips"))
    write(
        f"{found.profile} on {found.reference}: {found.documents} documents, "
        f"{found.tokens:,} tokens",
        table(headings, rows, left=3),
        f"{count} of {len(found.trials)} gates trip just beyond their limit, and not within it",
    )


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def tensors(report: TensorReport) -> None:
    """Every tensor, the worst first, then every type."""
    figures = ("bytes", "relative RMSE", "max error", "cosine")
    write(
        f"{report.artifact} against {report.reference} in float32, {len(report.tensors)} tensors",
        table(
            ("tensor", "type", *figures),
            ((tensor.name, tensor.encoding, *_distances(tensor)) for tensor in report.tensors),
            left=2,
        ),
        table(
            ("type", "tensors", *figures),
            ((of.encoding, str(of.tensors), *_distances(of)) for of in report.encodings),
        ),
        *(
            f"note: {name} is not the checkpoint's: farther from it than its type can be"
            for name in report.misplaced
        ),
    )


def _distances(of: TensorDistance | EncodingDistance) -> tuple[str, ...]:
    return (
        format_bytes(of.size),
        f"{of.relative_rmse:.2g}",
        f"{of.max_error:.2g}",
        f"{of.cosine:.6f}",
    )


def packed(result: Packed) -> None:
    """What was made, in a few lines an artifact."""
    for artifact, fit, report in zip(result.artifacts, result.fits, result.reports, strict=True):
        write(
            f"{artifact.format:<10}{artifact.scheme}, {format_bytes(artifact.size)} "
            f"({_kinds(artifact)})",
            f"{'fits':<10}{result.device}: {format_bytes(fit.need)} of "
            f"{format_bytes(fit.budget)} at a context of {fit.context:,}",
            f"{'fidelity':<10}{report.verdict} ({report.profile}): {_distance(report)}",
        )
    write(*dict.fromkeys(f"note: {note}" for fit in result.fits for note in fit.notes))
    if result.error is None:
        write(f"{'package':<10}{result.out}")


def _kinds(artifact: Artifact) -> str:
    return ", ".join(f"{count.tensors} {count.encoding}" for count in artifact.histogram)


def _distance(report: FidelityReport) -> str:
    if report.outputs is not None:
        return _output_distance(report.outputs)
    measured = report.overall
    if measured is None:
        return "not measured"
    return (
        f"mean KLD {measured.kl_mean.value:.2g}, top-1 {measured.top1.value:.2%}, "
        f"hard flips {measured.hard_flips.value:.3%} over {report.tokens:,} tokens"
    )


def _output_distance(measured: OutputMetrics) -> str:
    choices = f", top-1 {measured.top1.value:.2%}" if measured.top1 else ""
    return (
        f"cosine {1 - measured.distance.value:.4g}, difference {measured.difference.value:.2g}"
        f"{choices} over {measured.rows:,} {measured.kind}"
    )


def planned(done: Quantized) -> None:
    """What would be written, and where."""
    for plan in done.planned:
        exactly = f" ({plan.size} bytes)" if plan.exact else ", more or less,"
        size = f"{format_bytes(plan.size)}{exactly}"
        write(f"{plan.format} {plan.scheme}: {size} would be written to {done.out}")


def quantized(done: Quantized) -> None:
    """What was written, type by type."""
    for artifact in done.artifacts:
        rows = [(c.encoding, str(c.tensors), format_bytes(c.size)) for c in artifact.histogram]
        entry = artifact.files[0].path
        write(
            f"{artifact.format} {artifact.scheme}: {entry}, {format_bytes(artifact.size)}",
            table(("type", "tensors", "bytes"), rows),
        )
    write(f"written to {done.out}")


def verified(package: Path, checked: Verified) -> None:
    """What was recomputed and found equal."""
    write(*(f"ok  {line}" for line in checked.checks), f"{package} is whole")
