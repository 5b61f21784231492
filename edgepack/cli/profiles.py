"""`edgepack profiles`: the devices and models edgepack knows."""

from __future__ import annotations

from typing import Annotated

import typer

from edgepack.cli.options import Json
from edgepack.cli.output import Answer, command

profiles_app = typer.Typer(
    help="Profiles of devices and models.", no_args_is_help=True, rich_markup_mode=None
)


@profiles_app.command("list")
@command
def profiles_list(
    models: Annotated[bool, typer.Option("--models", help="The models of the catalogue.")] = False,
    as_json: Json = False,
) -> Answer:
    """Names of the devices edgepack knows, or its catalogue of models."""
    from edgepack import hardware
    from edgepack.cli import catalogue, tables

    if models:
        return catalogue.listed()

    names = hardware.profiles()
    return Answer({"devices": list(names)}, lambda: tables.write(*names))


@profiles_app.command("show")
@command
def profiles_show(
    name: Annotated[str, typer.Argument(metavar="NAME")], as_json: Json = False
) -> Answer:
    """One device or model, as its profile states it."""
    from edgepack import hardware
    from edgepack.cli import catalogue, tables
    from edgepack.cli.plain import plain
    from edgepack.models.catalogue import match

    if name not in hardware.profiles() and match(name):
        return catalogue.shown(name)
    found = hardware.profile(name)
    return Answer(plain(found), lambda: tables.hardware(found))
