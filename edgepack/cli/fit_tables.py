"""What `fit` found, as tables for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from math import floor, log10
from typing import TYPE_CHECKING

from edgepack.cli.tables import table, write
from edgepack.units import format_bytes, format_count

if TYPE_CHECKING:
    from edgepack.hardware import Hardware
    from edgepack.memory import Fit, Speed
    from edgepack.pipeline.drafts import Paired
    from edgepack.pipeline.fit import FitTable, Weighed
    from edgepack.pipeline.ranking import Ranking

COLUMNS: dict[str, Callable[[Fit], str]] = {
    "weights": lambda fit: format_bytes(fit.footprint.weights),
    "KV cache": lambda fit: format_bytes(fit.footprint.kv),
    "other": lambda fit: format_bytes(
        fit.footprint.total - fit.footprint.weights - fit.footprint.kv
    ),
    "total": lambda fit: format_bytes(fit.footprint.total),
    "fits": lambda fit: ("yes" if fit.comfortable else "tight") if fit.fits else "NO",
    "headroom": lambda fit: format_bytes(fit.headroom),
    "longest ctx": lambda fit: f"{fit.longest_context:,}",
    "tokens/s": lambda fit: speed_range(fit.decode) if fit.fits else "",
    "prefill/s": lambda fit: speed_range(fit.prefill) if fit.fits else "",
    "fidelity": lambda fit: fit.fidelity,
    "on": lambda fit: fit.place if fit.fits else "",
}


def fitted(answer: FitTable) -> None:
    """A table per format, a row per scheme: memory, verdict, headroom, longest context, speed;
    where there is a choice, the place it runs on."""
    d = answer.rows[0].deployment
    write(
        f"{answer.model}: {format_count(answer.parameters)} parameters, "
        f"contexts up to {answer.context_length:,} tokens",
        f"{answer.hardware.name}: {_offered(answer.hardware)} for a model; "
        f"context {d.context:,}{_caches(answer.rows)}",
    )
    by_format: dict[str, list[Fit]] = {}
    for row in answer.rows:
        by_format.setdefault(row.form.name, []).append(row.fit)
    shown = _columns([row.fit for row in answer.rows], answer.hardware)
    for name, fits in by_format.items():
        headings = ("scheme" if len(by_format) == 1 else name, *shown)
        write(table(headings, [(fit.scheme, *(COLUMNS[c](fit) for c in shown)) for fit in fits]))
    if answer.pairs:
        _paired(answer.pairs)
    notes = [note for row in answer.rows for note in row.fit.notes]
    write(*dict.fromkeys(f"note: {note}" for note in (*notes, *answer.hardware.notes)))


def ranked(answer: Ranking) -> None:
    """The catalogue's models that run on a device, the largest first."""
    write(f"{answer.hardware.name}: {_offered(answer.hardware)} for a model")
    shown = [
        column
        for column in _columns([each.weighed.fit for each in answer.models], answer.hardware)
        if column not in ("weights", "KV cache", "other", "fits")
    ]
    rows = [
        (
            each.name,
            format_count(each.parameters),
            each.weighed.fit.scheme,
            *(COLUMNS[column](each.weighed.fit) for column in shown),
        )
        for each in answer.models
    ]
    if rows:
        write(table(("model", "parameters", "scheme", *shown), rows))
    context = f"at a context of {answer.context:,}, or of what they take"
    write(f"{len(rows)} of {answer.considered} models, {context}")
    write(*(f"note: {name} is left out: {reason}" for name, reason in answer.left_out))
    write(*(f"note: {note}" for note in answer.hardware.notes))


def _paired(pairs: Sequence[Paired]) -> None:
    """What a draft adds, and how many times as fast it makes its target by acceptance."""
    shares = [each.acceptance for each in pairs[0].pair.speedups]
    headings = ("with its draft", "draft", "both", "fits", *(f"at {share:.0%}" for share in shares))
    rows = [
        (
            each.scheme,
            format_bytes(each.pair.draft.footprint.total),
            format_bytes(each.total),
            "yes" if each.pair.fits else "NO",
            *(f"{s.times:.1f}x, {s.drafted}" if each.pair.fits else "" for s in each.pair.speedups),
        )
        for each in pairs
    ]
    write(table(headings, rows))
    write("times as fast as without, and tokens to draft, by the share that the target accepts")
    for each in pairs:
        placement = each.pair.target.placement
        if each.pair.fits and placement.kind != "whole":
            told = " ".join(placement.arguments)
            write(f"note: beside its draft {each.scheme} runs on {placement.name} ({told})")
    if not any(each.pair.pays for each in pairs):
        write("note: the draft is too slow beside its target: drafting pays at no acceptance")


def _columns(fits: Sequence[Fit], hardware: Hardware) -> list[str]:
    """The columns that say something: speeds where known, places where there is a choice."""
    silent = set()
    if len(hardware.places) == 1 and len(hardware.accelerators) < 2:
        silent.add("on")
    if not any(fit.prefill for fit in fits):
        silent.add("prefill/s")
    return [column for column in COLUMNS if column not in silent]


def _offered(hardware: Hardware) -> str:
    """Bytes for a model, in every memory that could hold some of one."""
    host = hardware.host
    if not hardware.cards:
        places = hardware.places
    else:
        places = (*hardware.cards, host) if host.memory.value is not None else hardware.cards
    sizes = Counter((format_bytes(place.memory.value or 0), place.name) for place in places)
    if len(sizes) == 1 and len(places) == 1:
        return next(iter(sizes))[0]
    told = (
        f"{size} on {f'each of {count} ' if count > 1 else ''}{name}"
        for (size, name), count in sizes.items()
    )
    return (", " if hardware.cards else " or ").join(told)


def _caches(rows: Sequence[Weighed]) -> str:
    """The types of KV cache, each with its formats where they differ, and the number of slots."""
    if not any(row.fit.footprint.kv for row in rows):
        return ""
    kept: dict[str, dict[str, None]] = {}
    for row in rows:
        types = dict.fromkeys((row.deployment.kv_type_k, row.deployment.kv_type_v))
        kept.setdefault(" and ".join(types), {})[row.form.name] = None
    told = (f"{kind} ({', '.join(names)})" for kind, names in kept.items())
    cache = f"{next(iter(kept))} cache" if len(kept) == 1 else f"cache {', '.join(told)}"
    slots = rows[0].deployment.slots
    return f", {cache}, {slots} slot{'s' * (slots > 1)}"


def speed_range(speed: Speed | None) -> str:
    if speed is None:
        return "unknown"
    return f"{rate(speed.low)} to {rate(speed.high)}"


def rate(tokens: float) -> str:
    """Two digits that count, or more: 0.6 is not 1, and 0.00012 is not 0."""
    if tokens >= 10 or not tokens:
        return f"{tokens:,.0f}"
    return f"{tokens:.{max(1, 1 - floor(log10(tokens)))}f}"
