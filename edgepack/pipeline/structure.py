"""What is wrong with an artifact before anything is compared token by token: seconds, not hours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgepack import formats
from edgepack.errors import DamagedInput, EdgepackError
from edgepack.fidelity import Document, runtimes
from edgepack.fidelity.blocks import tensor_checks
from edgepack.fidelity.checks import Check, faults
from edgepack.fidelity.conversations import template_check
from edgepack.fidelity.keys import header_check
from edgepack.fidelity.runtimes import Runtime
from edgepack.fidelity.structure import special_token_check, tokenizer_check
from edgepack.fidelity.texts import tokenizer_checks
from edgepack.fidelity.vocabulary import vocabulary_check
from edgepack.formats.dialect import read_dialect
from edgepack.models import Checkpoint
from edgepack.pipeline.progress import Report, silent, staged_progress

UNRUN = "runtime"
"""The check that failed where a runtime does not take an artifact whose fault is known already."""


def structure(
    entry: Path, checkpoint: Checkpoint, documents: Sequence[Document], report: Report = silent
) -> tuple[Check, ...]:
    """Every check: of the file itself first, then of what its runtime makes of it.

    Raises what opening the artifact in its runtime raises, unless the file's own checks say why;
    DamagedInput where the two vocabularies differ: no distance exists between them.
    """
    stored = _file_checks(entry, checkpoint, report)
    try:
        with runtimes.open(entry) as runtime:
            _check_vocabulary(entry, runtime, checkpoint)
            return (*stored, *_runtime_checks(entry, runtime, checkpoint, documents))
    except DamagedInput as error:
        if not faults(stored):
            raise
        return (*stored, Check(UNRUN, False, error.message))


def runs(checks: Sequence[Check]) -> bool:
    """Whether the runtime takes the artifact, so that there is something to compare."""
    return all(check.name != UNRUN for check in checks)


def _file_checks(entry: Path, checkpoint: Checkpoint, report: Report) -> tuple[Check, ...]:
    form = formats.holding(entry)
    header = (
        (header_check(entry, checkpoint.decoder, checkpoint.tokenizer.pre),)
        if form.name == "gguf"
        else ()
    )
    tensors = tensor_checks(
        lambda: form.tensors(entry, checkpoint), checkpoint, staged_progress(report, "read")
    )
    return (*header, *tensors)


def _runtime_checks(
    entry: Path, runtime: Runtime, checkpoint: Checkpoint, documents: Sequence[Document]
) -> tuple[Check, ...]:
    tokenizer = checkpoint.tokenizer
    return (
        special_token_check(runtime, tokenizer, checkpoint.stop_ids),
        tokenizer_check(runtime, tokenizer, documents),
        *tokenizer_checks(runtime, tokenizer),
        *_dialect_checks(entry, runtime, checkpoint),
    )


def _dialect_checks(entry: Path, runtime: Runtime, checkpoint: Checkpoint) -> tuple[Check, ...]:
    tokenizer = checkpoint.tokenizer
    try:
        stored = read_dialect(entry, runtime.vocabulary)
    except EdgepackError as error:
        why = f"not compared: {error.message}"
        return Check("vocabulary", None, why), Check("chat template", None, why)
    return vocabulary_check(tokenizer, stored), template_check(runtime, tokenizer, stored)


def _check_vocabulary(entry: Path, runtime: Runtime, checkpoint: Checkpoint) -> None:
    if runtime.vocabulary != checkpoint.decoder.vocabulary:
        raise DamagedInput(
            f"{entry}: the artifact has a vocabulary of {runtime.vocabulary}, "
            f"{checkpoint.name} one of {checkpoint.decoder.vocabulary}",
            "the artifact must have the checkpoint's vocabulary, padding included",
        )
