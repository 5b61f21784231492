"""What of a report is drawn: its plain form in, SVG out; empty where the figures are not there."""

from __future__ import annotations

from html import escape
from math import floor, log10
from typing import Any

from edgepack.fidelity.plots import Bar, Trace, bars, counts, trace_map

Plain = dict[str, Any]
_KINDS = {"pass": "good", "fail": "bad"}
_MOST_TRACES = 40


def by_span(data: Plain) -> str:
    """The three limited distances of every span, with bounds and limits."""
    drawn = []
    for figure in ("mean KLD", "p99 KLD", "p99.9 KLD"):
        rows = [_gate_bar(gate) for gate in data["gates"] if gate["figure"] == figure]
        if rows:
            caption = f'<p class="faint">{escape(figure)}, nats; the red mark is the limit</p>'
            drawn.append(caption + bars(rows, title=f"{figure} by span"))
    return "".join(drawn)


def percentiles(data: Plain) -> str:
    """From the median to the largest distance of the whole sample, with the limits there are."""
    overall = data.get("overall")
    if not overall:
        return ""
    limits = {g["figure"]: g["limit"] for g in data["gates"] if g["scope"] == "all"}
    rows = [
        Bar("half", overall["kl_p50"]),
        Bar("90%", overall["kl_p90"]),
        Bar("99%", overall["kl_p99"]["value"], limit=limits.get("p99 KLD")),
        Bar("99.9%", overall["kl_p999"]["value"], limit=limits.get("p99.9 KLD")),
        Bar("all", overall["kl_max"]),
    ]
    told = '<p class="faint">so many of the tokens have at most this KLD, in nats</p>'
    return told + bars(rows, title="KLD by share of tokens", decades=10)


def by_document(data: Plain) -> str:
    """How many documents have a mean KLD of each power of ten."""
    whole = next((f for f in data.get("by_document") or () if f["scope"] == "all"), None)
    if not whole:
        return ""
    powers = [floor(log10(max(kl, 1e-9))) for kl in whole["kl_mean"]]
    rows = [
        (f"{10.0**power:g} to {10.0 ** (power + 1):g}", powers.count(power))
        for power in range(min(powers), max(powers) + 1)
    ]
    return counts(rows, title="documents by mean KLD")


def by_depth(data: Plain) -> str:
    """Mean KLD by how deep in its document a token is."""
    deep = [bucket for bucket in data.get("buckets") or () if bucket["by"] == "depth"]
    rows = [
        Bar(_extent(bucket), bucket["kl_mean"], note=f"{bucket['tokens']} tokens")
        for bucket in deep
    ]
    told = '<p class="faint">mean KLD of tokens from one position to the next, nats</p>'
    return told + bars(rows, title="mean KLD by depth") if rows else ""


def first_damaged(steps: Plain) -> str:
    """A row for each trace that has a damaged step."""
    traces = [
        Trace(
            f"{step['document']}",
            step["steps"],
            step["step"],
            f"step {step['step'] + 1} of {step['steps']}: {step['text']!r}: expected "
            f"{step['expected_text']!r}, artifact {step['candidate_text']!r}",
        )
        for step in steps["first_damaged"][:_MOST_TRACES]
    ]
    left = len(steps["first_damaged"]) - len(traces)
    more = f'<p class="faint">{left} more are in the JSON.</p>' if left > 0 else ""
    return trace_map(traces, title="first damaged step of each trace") + more if traces else ""


def _gate_bar(gate: Plain) -> Bar:
    kind = _KINDS.get(gate["outcome"], "open") if gate["decides"] else "bar"
    bounds = gate["interval"]
    return Bar(
        gate["scope"], bounds["value"], bounds["lower"], bounds["upper"], gate["limit"], kind
    )


def _extent(bucket: Plain) -> str:
    upper = bucket["upper"]
    return f"from {bucket['lower']:g}" + (f" to {upper:g}" if upper is not None else " on")
