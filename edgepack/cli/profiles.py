"""`edgepack profiles`: the devices edgepack knows."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from edgepack.cli.options import Json
from edgepack.cli.output import Answer, command
from edgepack.errors import UsageError

profiles_app = typer.Typer(help="Device profiles.", no_args_is_help=True, rich_markup_mode=None)


@profiles_app.command("list")
@command
def profiles_list(as_json: Json = False) -> Answer:
    """The devices edgepack knows, with the memory a model may occupy and its bandwidth."""
    from edgepack import hardware
    from edgepack.cli import tables

    rows = [_listed(name) for name in hardware.profiles()]
    return Answer({"devices": rows}, lambda: tables.devices(rows))


@profiles_app.command("show")
@command
def profiles_show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As --device takes it.")],
    source: Annotated[
        bool, typer.Option("--source", help="Print the profile itself, which names its sources.")
    ] = False,
    as_json: Json = False,
) -> Answer:
    """One device, as its profile states it."""
    from edgepack import hardware
    from edgepack.cli import tables
    from edgepack.cli.plain import plain

    if source:
        text = hardware.profile_text(name)
        return Answer({"source": text}, lambda: tables.write(text.rstrip()))
    found = hardware.assemble(name)
    return Answer(plain(found), lambda: tables.hardware(found))


def _listed(name: str) -> dict[str, Any]:
    """A broken profile of the user's is told in its row: it hides no other."""
    from edgepack import hardware

    try:
        found = hardware.profile(name)
    except UsageError as error:
        return {"name": name, "error": f"{error.message}: {error.hint}"}
    return {
        "name": name,
        "memory": found.model_memory().value,
        "bandwidth": found.model_bandwidth().value,
        "runs_on": found.places[0].name,
    }
