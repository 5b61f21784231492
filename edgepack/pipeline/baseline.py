"""`--baseline`: the reports of an earlier run, as `validate --json` or `pack` wrote them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgepack.errors import DamagedInput, Missing, UsageError
from edgepack.fidelity import FidelityReport
from edgepack.fidelity.earlier import check_report
from edgepack.fidelity.ratchet import held_to
from edgepack.fidelity.report import SCHEMA_VERSION

_HINT = "name the JSON that an earlier `edgepack validate --json` printed"


def hold(reports: Sequence[FidelityReport], path: Path) -> tuple[FidelityReport, ...]:
    """Every report held to the earlier one of the same place; to the only one, if there is one.

    Raises Missing without the file, DamagedInput for what is no report, UsageError for reports of
    something else, or of another number of artifacts.
    """
    earlier = read_baseline(path)
    if len(earlier) == 1:
        earlier *= len(reports)
    if len(earlier) != len(reports):
        raise UsageError(
            f"{path} has reports of {len(earlier)} artifacts, and {len(reports)} were named",
            "name the same artifacts, in the same order",
        )
    pairs = zip(reports, earlier, strict=True)
    return tuple(held_to(report, before, str(path)) for report, before in pairs)


def read_baseline(path: Path) -> tuple[Mapping[str, Any], ...]:
    """The reports in a file, in order. Raises as `hold` does."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise Missing(f"{path} does not exist", _HINT) from error
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DamagedInput(f"{path} cannot be read: {reason}", _HINT) from error
    match content:
        case {"result": {"reports": [_, *_] as found}}:
            pass
        case {"result": dict(one)} | ({"verdict": _} as one):
            found = [one]
        case _:
            raise DamagedInput(f"{path} holds no fidelity report", _HINT)
    for one in found:
        if not isinstance(one, dict) or one.get("schema_version") != SCHEMA_VERSION:
            raise DamagedInput(
                f"{path} holds no fidelity report of version {SCHEMA_VERSION}", _HINT
            )
    for number, one in enumerate(found, start=1):
        check_report(one, f"{path}, report {number}" if len(found) > 1 else str(path))
    return tuple(found)
