"""`python -m edgepack.formats.onnx.export CHECKPOINT FOLDER SCHEME`: the child process.

It ends when its standard input does, that is with its parent, whatever becomes of that. Where it
fails the last line of its output says why: the error's code, and its message.

Weights become unsigned 8-bit integers, a scale and zero point per output. Measured on a trained
sentence encoder (MiniLM, 6 layers; 64 documents, 21,118 tokens; one minus the cosine of pooled
embeddings, mean and worst; AVX-512 with VNNI):

    weights         range    scales       mean     worst
    unsigned        8 bits   per output   0.0069   0.016
    unsigned        7 bits   per output   0.0083   0.020
    signed          7 bits   per output   0.0091   0.018
    signed          8 bits   per output   0.0109   0.027
    unsigned        8 bits   per tensor   0.0359   0.100
    signed          8 bits   per tensor   0.0965   0.285

Unsigned weights also run the same on processors without VNNI, where products of unsigned
activations and signed weights of the full range saturate. Embeddings in 8 bits cost 0.0007 of the
0.0069, and save 61% of the file.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
from pathlib import Path
from threading import Thread

from edgepack.errors import EdgepackError, Unsupported
from edgepack.formats.onnx.files import graph_names
from edgepack.formats.output import FULL, disk_error
from edgepack.models import TaskModel, open_model
from edgepack.models.transformer import load
from edgepack.quant.schemes.exported import F32


def main(root: str, folder: str, scheme: str) -> None:
    """Write the graphs of the checkpoint at `root` into `folder`."""
    model = open_model(root)
    assert isinstance(model, TaskModel), root
    try:
        export(model, Path(folder))
        for name in graph_names(model.outline):
            finish(Path(folder) / name, quantized=scheme != F32.name)
    except Exception as error:
        if _is_full(Path(folder), error):
            raise disk_error(Path(folder).parent, OSError(errno.ENOSPC, "")) from error
        raise


def export(model: TaskModel, folder: Path) -> None:
    """Every graph in float32, in `folder`. Raises Unsupported."""
    from optimum.exporters.onnx import onnx_export_from_model

    network = load(model.root, model.outline)
    try:
        onnx_export_from_model(network, folder, task=model.outline.task, do_validation=False)
    except (ValueError, KeyError, NotImplementedError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Unsupported(reason) from error


def finish(path: Path, *, quantized: bool) -> None:
    """Make the graph what is published: quantized if asked for, signed with edgepack's name."""
    import onnx

    if quantized:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        small = path.with_suffix(".int8.onnx")
        quantize_dynamic(path, small, weight_type=QuantType.QUInt8, per_channel=True)
        small.replace(path)
    graph = onnx.load(path)
    graph.producer_name = "edgepack"
    onnx.save(graph, path)


def _is_full(folder: Path, error: Exception) -> bool:
    """onnx does not notice a full disk when it writes, and fails on what it then reads back."""
    told = isinstance(error, OSError) and error.errno in FULL
    return told or shutil.disk_usage(folder).free == 0


def _end_with_parent() -> None:
    """Nothing is ever written to standard input: reading it returns when the parent is gone."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


if __name__ == "__main__":
    Thread(target=_end_with_parent, daemon=True).start()
    try:
        main(*sys.argv[1:])
    except EdgepackError as error:
        sys.stderr.write(f"\n{error.code}: {error.message}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
