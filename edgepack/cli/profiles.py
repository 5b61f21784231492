"""`edgepack profiles`: the devices and models edgepack knows."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from edgepack.cli.options import Json
from edgepack.cli.output import Answer, command
from edgepack.errors import EdgepackError, unknown

profiles_app = typer.Typer(
    help="Profiles of devices and models.", no_args_is_help=True, rich_markup_mode=None
)


@profiles_app.command("list")
@command
def profiles_list(
    models: Annotated[bool, typer.Option("--models", help="The models of the catalogue.")] = False,
    as_json: Json = False,
) -> Answer:
    """The devices edgepack knows, with the memory a model may occupy, or its catalogue."""
    from edgepack import hardware
    from edgepack.cli import catalogue, tables

    if models:
        return catalogue.listed()

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
    """One device or model, as its profile states it."""
    from edgepack import hardware
    from edgepack.cli import catalogue, tables
    from edgepack.cli.plain import plain
    from edgepack.models.catalogue import match

    device = hardware.is_profile(name) or hardware.is_assembled(name)
    if not device and match(name):
        return catalogue.shown(name, source=source)
    if not device:
        raise _unknown(name)
    if source:
        text = hardware.profile_text(name)
        return Answer({"source": text}, lambda: tables.write(text.rstrip()))
    found = hardware.assemble(name)
    return Answer(plain(found), lambda: tables.hardware(found))


def _unknown(name: str) -> EdgepackError:
    """With the nearest of both kinds."""
    from edgepack import hardware
    from edgepack.models.catalogue import names

    lists = "`edgepack profiles list` names the devices, and with --models the models"
    return unknown("device or model", name, (*hardware.profiles(), *names()), lists)


def _listed(name: str) -> dict[str, Any]:
    """A broken profile of the user's is told in its row: it hides no other."""
    from edgepack import hardware

    try:
        found = hardware.profile(name)
    except EdgepackError as error:
        return {"name": name, "error": f"{error.message}: {error.hint}"}
    return {
        "name": name,
        "memory": found.model_memory().value,
        "bandwidth": found.model_bandwidth().value,
        "runs_on": found.places[0].name,
    }
