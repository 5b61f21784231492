"""`python -m edgepack.formats.onnx.export CHECKPOINT FOLDER SCHEME`: the child process.

The last line of its output says why it failed, its exit code is that of the error.

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

import sys
from pathlib import Path

from edgepack.errors import EdgepackError, Unsupported
from edgepack.formats.onnx.files import EXPORT, graph_names
from edgepack.models import TaskModel, open_model
from edgepack.models.transformer import load
from edgepack.quant.schemes.exported import F32


def main(root: str, folder: str, scheme: str) -> None:
    """Write the graphs of the checkpoint at `root` into `folder`."""
    model = open_model(root)
    assert isinstance(model, TaskModel), root
    work = Path(folder) / EXPORT
    export(model, work)
    for name in graph_names(model.outline):
        finish(work / name, Path(folder) / name, quantized=scheme != F32.name)


def export(model: TaskModel, work: Path) -> None:
    """Every graph in float32, in the folder `work`. Raises Unsupported."""
    from optimum.exporters.onnx import onnx_export_from_model

    network = load(model.root, model.outline)
    try:
        onnx_export_from_model(network, work, task=model.outline.task, do_validation=False)
    except (ValueError, KeyError, NotImplementedError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Unsupported(reason) from error


def finish(exported: Path, final: Path, *, quantized: bool) -> None:
    """The graph as it is published: quantized if asked for, and signed with edgepack's name."""
    import onnx

    if quantized:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        source, exported = exported, exported.with_suffix(".int8.onnx")
        quantize_dynamic(source, exported, weight_type=QuantType.QUInt8, per_channel=True)
    graph = onnx.load(exported)
    graph.producer_name = "edgepack"
    onnx.save(graph, final)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except EdgepackError as error:
        sys.stderr.write(f"\n{error.message}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
