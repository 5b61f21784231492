"""Plots as SVG text, for a page that opens anywhere: no script, no style but the page's classes.

Colours are the page's: elements carry the classes `bar`, `good`, `bad`, `open`, `limit`, `axis`,
`grid` and `label`. All text is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, isfinite, log10

ROW = 26  # px of one row of a chart
_LABELS, _RIGHT, _TOP, _BOTTOM = 150, 24, 8, 22


@dataclass(frozen=True, slots=True)
class Bar:
    """A row: a figure with bounds and a limit, each None where there is none.

    `kind` is a class of the page: good, bad, open or bar.
    """

    label: str
    value: float | None
    lower: float | None = None
    upper: float | None = None
    limit: float | None = None
    kind: str = "bar"
    note: str = ""


@dataclass(frozen=True, slots=True)
class Scale:
    """Powers of ten from left to right; what is smaller lies at the left edge."""

    low: int
    high: int
    width: float

    def x(self, value: float) -> float:
        share = (log10(max(value, 10.0**self.low)) - self.low) / (self.high - self.low)
        return _LABELS + min(1.0, share) * self.width


def counts(rows: Sequence[tuple[str, int]], *, title: str, width: int = 720) -> str:
    """A bar for each row as long as its count, which stands behind it."""
    most = max((count for _, count in rows), default=1)
    parts = []
    for index, (label, count) in enumerate(rows):
        y, length = _TOP + ROW * index, count / most * (width - _LABELS - 2 * _RIGHT)
        parts.append(
            f'<text class="label" x="{_LABELS - 8}" y="{y + ROW / 2 + 4:g}">{escape(label)}</text>'
            f'<rect x="{_LABELS}" y="{y + 6}" width="{length:.1f}" height="{ROW - 12}" rx="2"/>'
            f'<text x="{_LABELS + length + 6:.1f}" y="{y + ROW / 2 + 4:g}">{count}</text>'
        )
    return _svg(title, width, _TOP + ROW * len(rows), parts)


def bars(rows: Sequence[Bar], *, title: str, width: int = 720, decades: int = 6) -> str:
    """A logarithmic bar for each row, its bounds as a whisker, its limit as a mark."""
    scale = _scale(rows, width, decades)
    height = _TOP + ROW * len(rows) + _BOTTOM
    parts = [*_grid(scale, height)]
    for index, row in enumerate(rows):
        parts += _bar(row, scale, _TOP + ROW * index)
    return _svg(title, width, height, parts)


@dataclass(frozen=True, slots=True)
class Trace:
    """A row of `steps` cells, all well before the damaged one, which is number `damaged`."""

    label: str
    steps: int
    damaged: int
    note: str = ""


def trace_map(traces: Sequence[Trace], *, title: str, width: int = 720, cell: int = 14) -> str:
    """A row for each trace; a trace longer than the row is cut behind its damaged step."""
    fit = (width - _LABELS) // cell
    parts = []
    for index, trace in enumerate(traces):
        y = index * (cell + 4)
        parts.append(
            f'<text class="label" x="{_LABELS - 8}" y="{y + cell - 3}">{escape(trace.label)}</text>'
        )
        first = max(0, trace.damaged + 2 - fit)
        for place, step in enumerate(range(first, min(trace.steps, first + fit))):
            kind = "bad" if step == trace.damaged else "good" if step < trace.damaged else "after"
            tip = trace.note if step == trace.damaged else f"step {step + 1} of {trace.steps}"
            parts.append(
                f'<g><title>{escape(tip)}</title><rect class="{kind}" x="{_LABELS + place * cell}" '
                f'y="{y}" width="{cell - 2}" height="{cell}" rx="2"/></g>'
            )
    return _svg(title, width, len(traces) * (cell + 4), parts)


def _scale(rows: Sequence[Bar], width: int, decades: int) -> Scale:
    known = [
        value
        for row in rows
        for value in (row.value, row.upper, row.limit)
        if value and isfinite(value) and value > 0
    ]
    high = ceil(log10(max(known, default=1.0)) + 1e-9)
    low = max(high - decades, floor(log10(min(known, default=0.1))))
    return Scale(min(low, high - 1), high, width - _LABELS - _RIGHT)


def _grid(scale: Scale, height: int) -> list[str]:
    parts = []
    for power in range(scale.low, scale.high + 1):
        x = scale.x(10.0**power)
        parts.append(
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{height - _BOTTOM}"/>'
        )
        text = f"{10.0**power:g}" if power >= -3 else f"1e{power}"
        parts.append(f'<text class="axis" x="{x:.1f}" y="{height - 6}">{text}</text>')
    return parts


def _bar(row: Bar, scale: Scale, top: int) -> list[str]:
    middle = top + ROW / 2
    parts = [f'<text class="label" x="{_LABELS - 8}" y="{middle + 4:g}">{escape(row.label)}</text>']
    tip = f"<title>{escape(row.note)}</title>" if row.note else ""
    if row.value is not None:
        width = max(2.0, scale.x(row.value) - _LABELS)
        parts.append(
            f'<g>{tip}<rect class="{row.kind}" x="{_LABELS}" y="{top + 6}" width="{width:.1f}" '
            f'height="{ROW - 12}" rx="2"/></g>'
        )
    if row.lower is not None and row.upper is not None:
        x1, x2 = scale.x(row.lower), scale.x(row.upper)
        parts.append(
            f'<line class="whisker" x1="{x1:.1f}" x2="{x2:.1f}" y1="{middle:g}" y2="{middle:g}"/>'
        )
    if row.limit:
        x = scale.x(row.limit)
        parts.append(
            f'<line class="limit" x1="{x:.1f}" x2="{x:.1f}" y1="{top + 2}" y2="{top + ROW - 2}"/>'
        )
    return parts


def _svg(title: str, width: int, height: int, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )
