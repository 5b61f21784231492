"""The catalogue's models, as `edgepack profiles` answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgepack.cli.output import Answer
from edgepack.errors import EdgepackError
from edgepack.units import format_bytes, format_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgepack.memory.law import CacheGroup
    from edgepack.models import CatalogueEntry

F16 = 2
"""Bytes of a float16, the type of a KV cache unless another is asked for."""


def listed() -> Answer:
    """Every model: its size, context, month and licence."""
    from edgepack.models import catalogue

    rows = [_row(name) for name in catalogue.names()]
    return Answer({"models": rows}, lambda: _write_list(rows))


def shown(name: str, *, source: bool = False) -> Answer:
    """One model: its shape, what a token adds to its cache, and where its weights are; or its
    profile as it is written."""
    from edgepack.cli import tables
    from edgepack.cli.plain import plain
    from edgepack.memory.law import cache_law
    from edgepack.models import catalogue

    if source:
        text = catalogue.profile_text(name)
        return Answer({"source": text}, lambda: tables.write(text.rstrip()))
    found = catalogue.entry(name)
    groups = cache_law(found.decoder)
    data = {
        "name": found.name,
        "repository": found.repository,
        "licence": found.licence,
        "released": found.released,
        "parameters": found.parameters,
        "layers": len(found.decoder.layers),
        "context_length": found.decoder.context_length,
        "cache": plain(groups),
    }
    return Answer(data, lambda: _write_one(found, groups))


def _row(name: str) -> dict[str, Any]:
    """A broken entry of the user's is told in its row: it hides no other."""
    from edgepack.models import catalogue

    try:
        found = catalogue.entry(name)
    except EdgepackError as error:
        return {"name": name, "error": f"{error.message}: {error.hint}"}
    return {
        "name": name,
        "parameters": found.parameters,
        "context_length": found.decoder.context_length,
        "released": found.released,
        "licence": found.licence,
    }


def _write_list(rows: Sequence[dict[str, Any]]) -> None:
    from edgepack.cli import tables

    cells = (
        (row["name"], row["error"], "", "", "")
        if "error" in row
        else (
            row["name"],
            row["licence"],
            row["released"],
            format_count(row["parameters"]),
            f"{row['context_length']:,}",
        )
        for row in rows
    )
    headings = ("model", "licence", "released", "parameters", "context")
    tables.write(tables.table(headings, cells, left=2))


def _write_one(found: CatalogueEntry, groups: Sequence[CacheGroup]) -> None:
    from edgepack.cli import tables

    decoder = found.decoder
    rows = [
        ("parameters", f"{format_count(found.parameters)} ({found.parameters:,})"),
        ("layers", str(len(decoder.layers))),
        ("context", f"{decoder.context_length:,} tokens"),
    ]
    rows += [("KV cache", _growth(group)) for group in groups]
    rows += [
        ("licence", found.licence),
        ("released", found.released),
        ("weights", f"https://huggingface.co/{found.repository}"),
    ]
    tables.write(found.name, tables.table(("", ""), rows, left=2))


def _growth(group: CacheGroup) -> str:
    """What a token adds to the caches of these layers, and how far back they reach."""
    each = group.layers * (group.k_elements + group.v_elements) * F16
    reach = f", the latest {group.window:,}" if group.window else ""
    layers = f"{group.layers} layer{'s' if group.layers > 1 else ''}"
    return f"{format_bytes(each)} a token in {layers}{reach} (f16)"
