"""A report as one page that needs nothing else: no script, no font, no picture from elsewhere.

Everything comes from the report's plain form, so a section is there when its figures are. All text
is escaped: a token may well spell HTML. Colours follow the reader's light or dark scheme, and the
page forbids itself to load anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources
from typing import TYPE_CHECKING, Any

from edgepack.fidelity import charts
from edgepack.fidelity.limits import MEANINGS

if TYPE_CHECKING:
    from edgepack.fidelity.report import FidelityReport

Plain = dict[str, Any]
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_CLASSES = {"pass": "pass", "fail": "fail"}
# sections that are told figure by figure, where the report has them
_FACTS = {
    "outputs": "Outputs",
    "generation": "Generation",
    "draft": "As a draft",
    "distillation": "Distillation loss",
    "noise_floor": "Noise floor",
    "control": "Control",
}
_MOST_ROWS = 40
_TEXTS = {"span", "figure", "detail", "context, and what came next"}


def page(reports: Sequence[tuple[str, FidelityReport]]) -> str:
    """HTML of reports and the names of their artifacts."""
    title = escape(f"Fidelity: {', '.join(name for name, _ in reports)}")
    style = resources.files("edgepack.fidelity").joinpath("page.css").read_text("utf-8")
    body = "".join(_report(name, report.to_dict()) for name, report in reports)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{style}</style></head>\n<body>{body}</body></html>\n"
    )


def _report(name: str, data: Plain) -> str:
    return "\n".join(
        (
            _head(name, data),
            _gates(data),
            _section("Distance by span", charts.by_span(data)),
            _section("How distances are spread", charts.percentiles(data)),
            _section("Documents by their mean KLD", charts.by_document(data)),
            _section("Distance by depth", charts.by_depth(data)),
            _steps(data),
            _worst(data),
            _structure(data),
            _ratchet(data),
            *(_section(title, _facts(data.get(key))) for key, title in _FACTS.items()),
        )
    )


def _head(name: str, data: Plain) -> str:
    verdict = "invalid measurement" if data["invalid"] else data["verdict"]
    kind = _CLASSES.get(data["verdict"], "open")
    return (
        f'<h1>{escape(name)}</h1>\n<p><span class="verdict {kind}">{escape(verdict)}</span> '
        f"by the profile {escape(data['profile'])}: {escape(data['runtime'])} "
        f"{escape(data['runtime_version'])} against {escape(data['reference'])} in float32, "
        f"{data['documents']} documents, {data['tokens']:,} tokens.</p>\n"
        + _list(data["reasons"], "reasons" if kind == "fail" else f"reasons {kind}")
        + _list(data["notes"], "faint")
    )


def _gates(data: Plain) -> str:
    rows = []
    for gate in data["gates"]:
        outcome = gate["outcome"] if gate["decides"] else "not gated"
        figures = (gate["interval"][key] for key in ("value", "lower", "upper"))
        kind = _CLASSES.get(outcome, "open" if gate["decides"] else "faint")
        rows.append(
            f'<tr><td>{escape(gate["scope"])}</td><td class="text" '
            f'title="{escape(MEANINGS.get(gate["figure"], ""))}">{escape(gate["figure"])}</td>'
            + "".join(f"<td>{_figure(value)}</td>" for value in (*figures, gate["limit"]))
            + f'<td class="{kind}">{escape(outcome)}</td></tr>'
        )
    headings = ("span", "figure", "measured", "lower bound", "upper bound", "limit", "outcome")
    known = {gate["figure"] for gate in data["gates"]}
    meanings = [f"{name}: {text}" for name, text in MEANINGS.items() if name in known]
    table = _table(headings, rows, "Passes where the bound is within the limit.")
    return _section("Gates", table + _list(meanings, "faint") if rows else "")


def _steps(data: Plain) -> str:
    steps = data.get("steps")
    if not steps:
        return ""
    told = (
        f"<p>{steps['damaged_traces']} of {steps['traces']} traces have a damaged step; each row "
        "is one of them, red its first damaged step.</p>"
    )
    return _section("Reasoning, step by step", told + charts.first_damaged(steps))


def _worst(data: Plain) -> str:
    rows = [_worst_row(token) for token in data["worst"]]
    headings = ("KLD", "gap", "span", "context, and what came next")
    return _section("Worst tokens", _table(headings, rows, "") if rows else "")


def _worst_row(token: Plain) -> str:
    expected, wanted, preferred = (
        escape(token[f"{which}_text"] or str(token[key]))
        for which, key in (
            ("expected", "expected"),
            ("reference", "reference_top"),
            ("candidate", "candidate_top"),
        )
    )
    context = escape(token["context_text"] or " ".join(map(str, token["context"])))
    return (
        f"<tr><td>{_figure(token['kl'])}</td><td>{_figure(token['gap'])}</td>"
        f'<td class="text">{escape(token["span"])}</td><td class="text"><div class="context">'
        f"{context}<mark>{expected}</mark></div>"
        f'<div class="context faint">reference <span class="kept">{wanted}</span>, artifact '
        f'<span class="lost">{preferred}</span>, {escape(token["document"])} at '
        f"{token['position']}</div></td></tr>"
    )


def _structure(data: Plain) -> str:
    states = {True: ("pass", "pass"), False: ("fail", "fail"), None: ("open", "not compared")}
    rows = []
    for check in data.get("structure") or ():
        kind, state = states[check["ok"]]
        rows.append(
            f'<tr><td>{escape(check["name"])}</td><td class="{kind}">{state}</td>'
            f'<td class="text">{escape(check["detail"])}</td></tr>'
        )
    return _section("Structure", _table(("check", "", "detail"), rows, "") if rows else "")


def _ratchet(data: Plain) -> str:
    ratchet = data.get("ratchet")
    if not ratchet:
        return ""
    rows = [
        f'<tr><td>{escape(loss["scope"])}</td><td class="text">{escape(loss["figure"])}</td>'
        f"<td>{_figure(loss['before'])}</td><td>{_figure(loss['after'])}</td>"
        f'<td>{_figure(loss["loss"]["lower"])}</td><td class="'
        f'{"fail" if loss["significant"] else "pass"}">'
        f"{'worse' if loss['significant'] else 'not worse'}</td></tr>"
        for loss in ratchet["losses"]
    ]
    how = f"{ratchet['paired']} documents in pairs" if ratchet["paired"] else "by their bounds"
    headings = ("span", "figure", "before", "now", "lost at least", "")
    caption = f"Against {ratchet['baseline']}, {how}."
    return _section("Against the baseline", _table(headings, rows, caption))


def _facts(value: Any) -> str:
    """Any figures: scalars as a table, lists of objects as tables of their own."""
    if isinstance(value, list):
        return _objects(value)
    if not isinstance(value, dict):
        return ""
    plain = {key: each for key, each in value.items() if not isinstance(each, dict | list)}
    rows = [
        f'<tr><td>{escape(_words(key))}</td><td class="text">{_figure(each)}</td></tr>'
        for key, each in plain.items()
    ]
    nested = {key: each for key, each in value.items() if key not in plain and each}
    return _table(("", ""), rows, "") + "".join(
        f"<h3>{escape(_words(key))}</h3>{_facts(each)}" for key, each in nested.items()
    )


def _objects(values: Sequence[Any]) -> str:
    if not all(isinstance(each, dict) for each in values):
        return f"<p><code>{escape(', '.join(map(str, values[:_MOST_ROWS])))}</code></p>"
    headings = tuple(dict.fromkeys(key for each in values for key in each))
    rows = [
        "<tr>"
        + "".join(f'<td class="text">{_figure(each.get(k))}</td>' for k in headings)
        + "</tr>"
        for each in values[:_MOST_ROWS]
    ]
    left = len(values) - len(rows)
    return _table(tuple(map(_words, headings)), rows, f"{left} more are in the JSON." * bool(left))


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>" if content else ""


def _table(headings: Sequence[str], rows: Iterable[str], caption: str) -> str:
    head = "".join(
        f'<th class="{"text" if heading in _TEXTS else ""}">{escape(heading)}</th>'
        for heading in headings
    )
    told = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="wide"><table>{told}<thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _list(items: Sequence[str], kind: str) -> str:
    told = "".join(f"<li>{escape(item)}</li>" for item in items)
    return f'<ul class="{kind}">{told}</ul>\n' if told else ""


def _figure(value: Any) -> str:
    if value is None:
        return "\N{EN DASH}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return escape(str(value))


def _words(key: str) -> str:
    return key.replace("_", " ")
