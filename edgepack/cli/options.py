"""What several commands take: arguments and options, each with one line of help."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edgepack.pipeline.device import Target

MOST = 2**31 - 1  # llama.cpp counts in 32 bits

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="Checkpoint folder, or hub id org/name[@revision].")
]
Out = Annotated[Path, typer.Option("-o", "--out", metavar="OUT", help="Where the result goes.")]
Device = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="A device, or '2x rtx-3090', 'A + B'; without it, this machine."
    ),
]
Memory = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Memory a model may occupy, for example 6G.")
]
Bandwidth = Annotated[
    str | None, typer.Option(metavar="RATE", help="That memory's bandwidth, for example 448G.")
]
Context = Annotated[
    int | None,
    typer.Option("--ctx", metavar="N", min=1, max=MOST, help="Context in tokens [4096]."),
]
Cache = Annotated[
    str | None, typer.Option("--kv", metavar="TYPE", help="Type of the KV cache, or K,V.")
]
Slots = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, max=MOST, help="Sequences served at once [1; server 4]."),
]
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
Corpus = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="JSONL documents; default: the checkpoint's eval.jsonl."),
]
Gate = Annotated[
    str,
    typer.Option("--profile", metavar="NAME", help="Limits to hold it to, or a TOML file."),
]
Made = Annotated[str, typer.Argument(metavar="ARTIFACT", help="A file or a package.")]
Reference = Annotated[
    str, typer.Option(metavar="MODEL", help="The full-precision checkpoint it came from.")
]
ReportFile = Annotated[
    Path | None,
    typer.Option("--report", metavar="FILE", help="JSON: how far each tensor is from MODEL's."),
]

# what reaches into a GGUF, as llama-quantize has it
TensorTypes = Annotated[
    list[str],
    typer.Option(
        "--tensor-type", metavar="REGEX=TYPE", help="GGUF: tensors so named; may be repeated."
    ),
]
OutputType = Annotated[
    str | None, typer.Option("--output-type", metavar="TYPE", help="GGUF: of the output head.")
]
EmbeddingType = Annotated[
    str | None, typer.Option("--embedding-type", metavar="TYPE", help="GGUF: of the embedding.")
]
Pure = Annotated[
    bool, typer.Option("--pure", help="GGUF: one type for all matrices, no exceptions.")
]
Imatrix = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="GGUF: importance matrix that llama-imatrix wrote."),
]
Requantize = Annotated[
    bool,
    typer.Option(
        "--allow-requantize", help="GGUF from a GGUF: also from types that have lost already."
    ),
]
Split = Annotated[
    str | None,
    typer.Option(
        "--split-max-size", metavar="SIZE", help="GGUF: files of at most SIZE each, such as 4G."
    ),
]


def size(text: str | None) -> int | None:
    """Bytes, where a size was given."""
    from edgepack.units import parse_bytes

    return None if text is None else parse_bytes(text)


def target(device: str | None, memory: int | None, bandwidth: str | None) -> Target:
    """The device meant by the three options."""
    from edgepack.errors import UsageError
    from edgepack.pipeline.device import Target
    from edgepack.units import MIB, parse_rate

    if memory is not None and memory < MIB:
        raise UsageError(f"--memory is {memory} bytes", "write it with K, M, G or T: 24G")
    return Target(device, memory, parse_rate(bandwidth) if bandwidth is not None else None)
