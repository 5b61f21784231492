"""The commands: arguments become one call of the hall, its result an Answer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from edgepack import __version__
from edgepack.cli.output import Answer, command, progress

app = typer.Typer(
    name="edgepack",
    help="From a language-model checkpoint and a device to a package that runs there and can be "
    "trusted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help, in half the time
    context_settings={"help_option_names": ["-h", "--help"]},
)
profiles_app = typer.Typer(help="Device profiles.", no_args_is_help=True, rich_markup_mode=None)
manifest_app = typer.Typer(
    help="What a package says of itself.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(profiles_app, name="profiles")
app.add_typer(manifest_app, name="manifest")

MOST = 2**31 - 1  # llama.cpp counts in 32 bits

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="Checkpoint folder, or hub id org/name[@revision].")
]
Out = Annotated[Path, typer.Option("-o", "--out", metavar="OUT", help="Where the result goes.")]
Device = Annotated[
    str | None, typer.Option(metavar="NAME", help="A device profile; without it, this machine.")
]
Memory = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Memory a model may occupy, for example 6G.")
]
Context = Annotated[
    int | None,
    typer.Option("--ctx", metavar="N", min=1, max=MOST, help="Context in tokens [4096]."),
]
Cache = Annotated[str | None, typer.Option("--kv", metavar="TYPE", help="Type of the KV cache.")]
Slots = Annotated[int, typer.Option(metavar="N", min=1, max=MOST, help="Sequences served at once.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print the path alone.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an earlier OUT.")]
To = Annotated[
    list[str],
    typer.Option("--to", metavar="FORMAT[:SCHEME]", help="gguf, mlx or onnx; may be repeated."),
]
SchemeName = Annotated[
    str | None, typer.Option("--scheme", metavar="NAME", help="Q4_K_M, Q8_0, F16, 4bit-g64, ...")
]
Bits = Annotated[
    int | None, typer.Option(metavar="N", help="The usual scheme of N bits in each format.")
]
Group = Annotated[
    int | None, typer.Option(metavar="N", help="With --bits: weights that share a scale.")
]
Plain = Annotated[
    bool, typer.Option("--plain", help="MLX, ONNX: round to nearest instead of searching scales.")
]
Made = Annotated[str, typer.Argument(metavar="ARTIFACT", help="A file or a package.")]
Reference = Annotated[
    str, typer.Option(metavar="MODEL", help="The full-precision checkpoint it came from.")
]
Split = Annotated[
    str | None,
    typer.Option(
        "--split-max-size", metavar="SIZE", help="GGUF: files of at most SIZE each, such as 4G."
    ),
]
Corpus = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="JSONL documents; default: the checkpoint's eval.jsonl."),
]
Gate = Annotated[
    str, typer.Option("--profile", metavar="NAME", help="Limits the verdict is held to.")
]


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
def detect(as_json: Json = False) -> Answer:
    """What this machine offers, and how each figure is known."""
    from edgepack import hardware
    from edgepack.cli import tables
    from edgepack.cli.plain import plain

    found = hardware.detect(path=Path.cwd())
    return Answer(plain(found), lambda: tables.hardware(found))


@app.command()
@command
def fit(
    model: Model,
    device: Device = None,
    memory: Memory = None,
    ctx: Context = None,
    kv: Cache = None,
    slots: Slots = 1,
    to: To = ["gguf"],  # noqa: B006  # typer copies it
    scheme: SchemeName = None,
    bits: Bits = None,
    group: Group = None,
    as_json: Json = False,
) -> Answer:
    """What MODEL needs at every bit width, and what of it fits. Exit 3 if nothing does."""
    from edgepack.cli import tables
    from edgepack.cli.plain import plain
    from edgepack.pipeline import fit as verb
    from edgepack.pipeline.choice import Choice

    choice = Choice(tuple(to), scheme, bits, group)
    answer = verb.fit(model, _target(device, memory), verb.Settings(ctx, kv, slots), choice)
    data = {
        "model": answer.model,
        "parameters": answer.parameters,
        "device": answer.hardware.name,
        "fits": [
            {"format": row.form.name, "deployment": plain(row.deployment), **_fit_data(row.fit)}
            for row in answer.rows
        ],
    }
    return Answer(data, lambda: tables.fit(answer), error=answer.nothing_fits)


@app.command()
@command
def quantize(
    model: Model,
    out: Out,
    to: To = ["gguf"],  # noqa: B006  # typer copies it
    scheme: SchemeName = None,
    bits: Bits = None,
    group: Group = None,
    plain: Plain = False,
    split: Split = None,
    force: Force = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be written, and write nothing.")
    ] = False,
    report_file: Annotated[
        Path | None,
        typer.Option(
            "--report", metavar="FILE", help="Compare what was written, tensor by tensor: JSON."
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> Answer:
    """Encode MODEL into OUT: one file if OUT ends in .gguf, else a folder."""
    from edgepack.cli import tables
    from edgepack.cli.plain import plain as values
    from edgepack.formats import Options
    from edgepack.pipeline import quantize as verb
    from edgepack.pipeline.choice import Choice

    choice = Choice(tuple(to), scheme, bits, group, plain)
    options = Options(split_bytes=_size(split))
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
def report_command(artifact: Made, reference: Reference, as_json: Json = False) -> Answer:
    """How far each tensor of ARTIFACT, decoded, is from MODEL's, the farthest first."""
    from edgepack.cli import tables
    from edgepack.pipeline import tensors as verb

    with progress(quiet=as_json) as tell:
        found = verb.report(artifact, reference, progress=tell)
    return Answer(found.to_dict(), lambda: tables.tensors(found))


@app.command()
@command
def validate(
    artifact: Made,
    reference: Reference,
    corpus: Corpus = None,
    profile: Gate = "balanced",
    as_json: Json = False,
) -> Answer:
    """Measure ARTIFACT in its real runtime against MODEL. Exit 4 if it fails, 7 if undecided."""
    from edgepack.cli import tables
    from edgepack.pipeline import validate as verb
    from edgepack.pipeline.pack import verdict_error

    with progress(quiet=as_json) as report:
        found = verb.validate(artifact, reference, corpus=corpus, profile=profile, report=report)
    return Answer(found.to_dict(), lambda: tables.fidelity(found), error=verdict_error([found]))


@app.command()
@command
def pack(
    model: Model,
    out: Out,
    device: Device = None,
    memory: Memory = None,
    to: To = ["gguf"],  # noqa: B006  # typer copies it
    scheme: SchemeName = "auto",
    bits: Bits = None,
    group: Group = None,
    plain: Plain = False,
    split: Split = None,
    ctx: Context = None,
    kv: Cache = None,
    slots: Slots = 1,
    corpus: Corpus = None,
    profile: Gate = "balanced",
    allow_failed: Annotated[
        bool, typer.Option("--allow-failed", help="Publish whatever the verdict.")
    ] = False,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> Answer:
    """MODEL and a device in, a measured package out: fit, quantize, validate, manifest.

    The scheme `auto`, the default, is the most faithful one of at most 8 bits that fits.
    """
    from edgepack.cli import tables
    from edgepack.cli.plain import plain as values
    from edgepack.pipeline import pack as verb
    from edgepack.pipeline.choice import AUTO, Choice
    from edgepack.pipeline.fit import Settings

    named = None if bits is not None and scheme == AUTO else scheme
    request = verb.PackRequest(
        model, out, Choice(tuple(to), named, bits, group, plain), _target(device, memory),
        Settings(ctx, kv, slots), corpus, profile, allow_failed, force, _size(split),
        ("edgepack", *sys.argv[1:]),
    )  # fmt: skip
    with progress(quiet=quiet or as_json) as report:
        done = verb.pack(request, report)
    data = {
        "out": str(done.out),
        "device": done.device,
        "artifacts": values(done.artifacts),
        "fits": [_fit_data(fit) for fit in done.fits],
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
    as_json: Json = False,
) -> Answer:
    """Recompute everything a package says of itself. Exit 5 on any difference."""
    from edgepack import manifest
    from edgepack.cli import tables
    from edgepack.cli.plain import plain
    from edgepack.models import open_model

    checked = manifest.verify(package, open_model(source) if source else None)
    return Answer(plain(checked), lambda: tables.verified(package, checked))


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


def _target(device: str | None, memory: str | None) -> Any:
    from edgepack.pipeline.device import Target

    return Target(device, _size(memory))


def _size(text: str | None) -> int | None:
    """Bytes, where a size was given."""
    from edgepack.units import parse_bytes

    return parse_bytes(text) if text else None


def _fit_data(fit: Any) -> dict[str, Any]:
    from edgepack.cli.plain import plain

    return {
        **plain(fit),
        "total": fit.footprint.total,
        "fits": fit.fits,
        "headroom": fit.headroom,
    }
