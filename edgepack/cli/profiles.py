"""`edgepack profiles`: the devices edgepack knows."""

from __future__ import annotations

from typing import Annotated

import typer

from edgepack.cli.options import Json
from edgepack.cli.output import Answer, command

profiles_app = typer.Typer(help="Device profiles.", no_args_is_help=True, rich_markup_mode=None)


@profiles_app.command("list")
@command
def profiles_list(as_json: Json = False) -> Answer:
    """Names of the devices edgepack knows."""
    from edgepack import hardware
    from edgepack.cli import tables

    names = hardware.profiles()
    return Answer({"devices": list(names)}, lambda: tables.write(*names))


@profiles_app.command("show")
@command
def profiles_show(
    name: Annotated[str, typer.Argument(metavar="NAME")], as_json: Json = False
) -> Answer:
    """One device, as its profile states it."""
    from edgepack import hardware
    from edgepack.cli import tables
    from edgepack.cli.plain import plain

    found = hardware.profile(name)
    return Answer(plain(found), lambda: tables.hardware(found))
