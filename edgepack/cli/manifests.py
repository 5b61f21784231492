"""`edgepack manifest`: what a package says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgepack.cli.options import Json
from edgepack.cli.output import Answer, command

manifest_app = typer.Typer(
    help="What a package says of itself.", no_args_is_help=True, rich_markup_mode=None
)


@manifest_app.command("show")
@command
def manifest_show(
    package: Annotated[Path, typer.Argument(metavar="DIR", help="A package made by pack.")],
    as_json: Json = False,
) -> Answer:
    """Print edgepack.toml, read and checked."""
    from edgepack import manifest
    from edgepack.cli import tables
    from edgepack.cli.plain import plain

    found = manifest.read(package)
    return Answer(plain(found), lambda: tables.write(manifest.dumps(found).rstrip()))
