"""What a model known by its task needs in onnxruntime, and whether it fits. Pure functions.

One text at a time, as long as the model takes. The law: every tensor once; what onnxruntime keeps
besides of some of them; the scores of all heads twice, a feed-forward layer's inside twice, and
four rows of the model's width, all in float32; the output; the process.

Measured on Linux x86-64 with onnxruntime 1.32 and Python, peak resident memory in MiB at 512
tokens, and what the law says of the same graph:

    graph                         measured    law
    MiniLM, F32                        196    231
    MiniLM, int8-dynamic               127    132
    BERT base, F32                     568    614
    BERT base, int8-dynamic            282    297
    T5 small's encoder, F32            260    293
    T5 small's encoder, int8           147    147
    T5 small's decoder, F32            437    442
    T5 small's decoder, int8           248    253
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from edgepack.memory.activations import FLOAT
from edgepack.memory.deployment import Deployment
from edgepack.memory.fit import Fit, check_memory
from edgepack.memory.law import PROCESS_BYTES, Footprint
from edgepack.memory.placement import Part, Placement
from edgepack.models.outline import Outline

if TYPE_CHECKING:
    from edgepack.hardware import Hardware
    from edgepack.quant.schemes import Scheme


def deployment(outline: Outline, context: int | None = None) -> Deployment:
    """One text of `context` tokens, or of as many as the model takes; no cache is kept."""
    tokens = min(context or outline.context_length, outline.context_length)
    return Deployment(tokens, "f32", "f32", micro_batch=tokens, program="onnxruntime")


def footprint(outline: Outline, weights: int, scheme: Scheme, tokens: int) -> Footprint:
    """Bytes for one text of `tokens` tokens; `weights` are the bytes of all tensors.

    onnxruntime packs the matrices it multiplies with: of 8-bit ones it keeps both forms, of
    float32 ones it holds both for one matrix at a time, the embedding being the largest.
    """
    embedding = outline.vocabulary * outline.width
    copied = FLOAT * embedding if scheme.bits == 32 else max(0, weights - embedding)
    scores = outline.heads * tokens
    row = 2 * scores + 2 * outline.inner + 4 * outline.width
    return Footprint(
        weights=weights,
        kv=0,
        state=0,
        compute=FLOAT * tokens * row,
        output=FLOAT * tokens * _output_width(outline),
        overhead=PROCESS_BYTES["onnxruntime"] + copied,
    )


def fit(
    outline: Outline, weights: int, scheme: Scheme, hardware: Hardware, plan: Deployment
) -> Fit:
    """Weigh one scheme on the processor. Raises Missing if the device's memory is unknown."""

    def total(tokens: int) -> int:
        return footprint(outline, weights, scheme, tokens).total

    check_memory(hardware)
    host = hardware.host if hardware.host.memory.value is not None else hardware.places[0]
    lengths = range(1, outline.context_length + 1)
    part = Part(host, total(plan.context), layers=1, read=0)
    return Fit(
        scheme=scheme.name,
        bits=scheme.bits,
        context=plan.context,
        footprint=footprint(outline, weights, scheme, plan.context),
        placement=Placement("whole", (part,)),
        longest_context=bisect_right(lengths, host.memory.value or 0, key=total),
        decode=None,
    )


def _output_width(outline: Outline) -> int:
    """Elements that one token adds to the output."""
    if outline.task in ("fill-mask", "text2text-generation"):
        return outline.vocabulary
    return outline.labels or outline.width
