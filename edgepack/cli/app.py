"""The commands: arguments become one call of the hall, its result an Answer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from edgepack import __version__
from edgepack.cli import options as given
from edgepack.cli.fit import fit, fit_data
from edgepack.cli.manifests import manifest_app
from edgepack.cli.options import size, target
from edgepack.cli.output import Answer, command, progress
from edgepack.cli.profiles import profiles_app
from edgepack.cli.validate import validate

app = typer.Typer(
    name="edgepack",
    help="From a language-model checkpoint and a device to a package that runs there and can be "
    "trusted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help, in half the time
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(profiles_app, name="profiles")
app.add_typer(manifest_app, name="manifest")
app.command()(fit)
app.command()(validate)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"edgepack {__version__}")
        raise typer.Exit


def _warm(wanted: bool) -> None:
    if not wanted:
        return
    from edgepack.quant import kernels

    with kernels.listening(lambda name: print(f"compiling {name}", file=sys.stderr)):
        count = kernels.warm()
    print(f"{count} kernels are ready")
    raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    warm: Annotated[
        bool,
        typer.Option(
            "--warm", callback=_warm, is_eager=True, help="Compile all encoders now, and exit."
        ),
    ] = False,
) -> None:
    """From a language-model checkpoint and a device to a package that runs and can be trusted."""


@app.command()
@command
def detect(as_json: given.Json = False) -> Answer:
    """What this machine offers, and how each figure is known."""
    from edgepack import hardware
    from edgepack.cli import tables
    from edgepack.cli.plain import plain

    found = hardware.detect(path=Path.cwd())
    return Answer(plain(found), lambda: tables.hardware(found))


@app.command()
@command
def quantize(
    model: given.Model,
    out: given.Out,
    to: given.To = ["gguf"],  # noqa: B006  # typer copies it
    scheme: given.SchemeName = None,
    bits: given.Bits = None,
    group: given.Group = None,
    plain: given.Plain = False,
    tensor_type: given.TensorTypes = [],  # noqa: B006
    output_type: given.OutputType = None,
    embedding_type: given.EmbeddingType = None,
    pure: given.Pure = False,
    imatrix: given.Imatrix = None,
    requantize: given.Requantize = False,
    split: given.Split = None,
    force: given.Force = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be written, and write nothing.")
    ] = False,
    report_file: given.ReportFile = None,
    as_json: given.Json = False,
    quiet: given.Quiet = False,
) -> Answer:
    """Encode MODEL, here also a GGUF, into OUT: one file if OUT ends in .gguf, else a folder."""
    from edgepack.cli import tables
    from edgepack.cli.plain import plain as values
    from edgepack.formats import Options
    from edgepack.pipeline import quantize as verb
    from edgepack.pipeline.choice import Choice
    from edgepack.quant.schemes.overrides import overrides

    asked = overrides(tensor_type, output_type, embedding_type, pure=pure)
    choice = Choice(tuple(to), scheme, bits, group, plain, asked, imatrix)
    options = Options(split_bytes=size(split), requantize=requantize)
    with progress(quiet=quiet or as_json) as report:
        done = verb.quantize(
            model, choice, out, options=options, force=force, dry_run=dry_run,
            tensors=report_file, report=report,
        )  # fmt: skip
    data = {**values(done), "planned_bytes": done.planned_bytes}
    if dry_run:
        return Answer(data, lambda: tables.planned(done))
    return Answer(data, lambda: tables.quantized(done), path=str(out))


@app.command("report")
@command
def report_command(
    artifact: given.Made, reference: given.Reference, as_json: given.Json = False
) -> Answer:
    """How far each tensor of ARTIFACT, decoded, is from MODEL's. Exit 4 if one is not MODEL's."""
    from edgepack.cli import tables
    from edgepack.pipeline import tensors as verb

    with progress(quiet=as_json) as tell:
        found = verb.report(artifact, reference, progress=tell)
    error = verb.misplaced_error(found)
    return Answer(found.to_dict(), lambda: tables.tensors(found), error=error)


@app.command()
@command
def pack(
    model: given.Model,
    out: given.Out,
    device: given.Device = None,
    memory: given.Memory = None,
    bandwidth: given.Bandwidth = None,
    to: given.To = ["gguf"],  # noqa: B006  # typer copies it
    scheme: given.SchemeName = "auto",
    bits: given.Bits = None,
    group: given.Group = None,
    plain: given.Plain = False,
    tensor_type: given.TensorTypes = [],  # noqa: B006
    output_type: given.OutputType = None,
    embedding_type: given.EmbeddingType = None,
    pure: given.Pure = False,
    imatrix: given.Imatrix = None,
    split: given.Split = None,
    ctx: given.Context = None,
    kv: given.Cache = None,
    slots: given.Slots = None,
    corpus: given.Corpus = None,
    profile: given.Gate = "balanced",
    allow_failed: Annotated[
        bool, typer.Option("--allow-failed", help="Publish whatever the verdict.")
    ] = False,
    force: given.Force = False,
    as_json: given.Json = False,
    quiet: given.Quiet = False,
) -> Answer:
    """MODEL and a device in, a measured package out: fit, quantize, validate, manifest.

    The scheme `auto`, the default, is the most faithful one of at most 8 bits that fits.
    """
    from edgepack.cli import tables
    from edgepack.cli.plain import plain as values
    from edgepack.pipeline import pack as verb
    from edgepack.pipeline.choice import AUTO, Choice
    from edgepack.pipeline.fit import Settings
    from edgepack.quant.schemes.overrides import overrides

    named = None if bits is not None and scheme == AUTO else scheme
    asked = overrides(tensor_type, output_type, embedding_type, pure=pure)
    choice = Choice(tuple(to), named, bits, group, plain, asked, imatrix)
    request = verb.PackRequest(
        model, out, choice, target(device, size(memory), bandwidth),
        Settings(ctx, kv, slots), corpus, profile, allow_failed, force, size(split),
        ("edgepack", *sys.argv[1:]),
    )  # fmt: skip
    with progress(quiet=quiet or as_json) as report:
        done = verb.pack(request, report)
    data = {
        "out": str(done.out),
        "device": done.device,
        "artifacts": values(done.artifacts),
        "fits": [fit_data(fit) for fit in done.fits],
        "fidelity": [report.to_dict() for report in done.reports],
    }
    return Answer(data, lambda: tables.packed(done), path=str(out), error=done.error)


@app.command()
@command
def verify(
    package: Annotated[Path, typer.Argument(metavar="DIR", help="A package made by pack.")],
    source: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Compare with the checkpoint it came from.")
    ] = None,
    as_json: given.Json = False,
) -> Answer:
    """Recompute everything a package says of itself. Exit 5 on any difference."""
    from edgepack import manifest
    from edgepack.cli import tables
    from edgepack.cli.plain import plain
    from edgepack.models import open_model

    checked = manifest.verify(package, None if source is None else open_model(source))
    return Answer(plain(checked), lambda: tables.verified(package, checked))
