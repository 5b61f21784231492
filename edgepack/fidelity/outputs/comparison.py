"""Reference and runtime on every text, and the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from edgepack.errors import DamagedInput, UsageError
from edgepack.fidelity import Document, FidelityReport, Profile, report_on
from edgepack.fidelity.metrics import TokenScores
from edgepack.fidelity.metrics import score as score_tokens
from edgepack.fidelity.outputs.gates import judge
from edgepack.fidelity.outputs.metrics import OutputScores, score, summarize
from edgepack.fidelity.outputs.reference import TransformerReference
from edgepack.fidelity.outputs.rows import OUTPUTS, Floats, kind_of, rows
from edgepack.fidelity.outputs.texts import Text, open_tokenizer
from edgepack.fidelity.runtimes.onnx_outputs import OnnxOutputs
from edgepack.fidelity.spans import Span
from edgepack.models import TaskModel

ANSWER: Final[Span] = "answer"
Progress = Callable[[int, int], None]


def validate(
    model: TaskModel,
    reference: TransformerReference,
    runtime: OnnxOutputs,
    texts: Sequence[Text],
    limits: Profile,
    progress: Progress,
) -> FidelityReport:
    """Run both on every text and judge the distance.

    Raises UsageError without texts, DamagedInput where outputs differ in shape, or the reference's
    are not finite.
    """
    if not texts:
        raise UsageError("there are no documents to validate on", "name a corpus: --corpus FILE")
    measure = _answers if model.outline.generates else _outputs
    return measure(model, reference, runtime, texts, limits, progress)


def _outputs(
    model: TaskModel,
    reference: TransformerReference,
    runtime: OnnxOutputs,
    texts: Sequence[Text],
    limits: Profile,
    progress: Progress,
) -> FidelityReport:
    outline = model.outline
    parts = []
    for index, text in enumerate(texts):
        feed = text.feed(_pad_id(model), outline.context_length)
        expected = rows(outline, reference.outputs(feed), len(text.ids))
        found = rows(outline, runtime.outputs(feed, OUTPUTS[outline.task]), len(text.ids))
        _require_shape(text.name, expected, found)
        parts.append(score(expected, found, index))
        progress(index + 1, len(texts))
    scores = OutputScores.concatenate(parts)
    metrics = summarize(scores, kind_of(outline))
    judgement = judge(metrics, limits, non_finite=int((~scores.finite).sum()))
    return FidelityReport(
        verdict=judgement.verdict,
        reasons=judgement.reasons,
        notes=judgement.notes,
        powered=judgement.powered,
        profile=limits.name,
        reference=model.name,
        runtime=runtime.name,
        runtime_version=runtime.version,
        documents=len(texts),
        tokens=sum(len(text.ids) for text in texts),
        outputs=metrics,
        gates=judgement.checks,
    )


def _answers(
    model: TaskModel,
    reference: TransformerReference,
    runtime: OnnxOutputs,
    texts: Sequence[Text],
    limits: Profile,
    progress: Progress,
) -> FidelityReport:
    """The decoder on the reference's own answers, token by token, as any decoder is judged."""
    parts, documents = [], []
    for index, text in enumerate(texts):
        feed = text.feed(_pad_id(model), model.outline.context_length)
        answer = reference.answer(feed)
        found = runtime.answer_logits(feed, answer.ids)
        _require_shape(text.name, answer.logits, found)
        documents.append(Document(text.name, answer.ids, (ANSWER,) * len(answer.ids)))
        parts.append(score_tokens(answer.logits, found, documents[-1], index))
        progress(index + 1, len(texts))
    tokenizer = open_tokenizer(model.root)
    return report_on(
        TokenScores.concatenate(parts),
        documents,
        limits,
        identity=model.name,
        runtime=(runtime.name, runtime.version),
        text_of=lambda token: tokenizer.id_to_token(token) or "",
    )


def _pad_id(model: TaskModel) -> int:
    """Any id does, since it is masked; the one the model was trained with is in its vocabulary."""
    stated = model.config.get("pad_token_id")
    return stated if type(stated) is int and 0 <= stated < model.vocabulary else 0


def _require_shape(name: str, expected: Floats, found: Floats) -> None:
    if expected.shape != found.shape:
        raise DamagedInput(
            f"{name}: the reference's output is {list(expected.shape)}, the artifact's "
            f"{list(found.shape)}",
            "the artifact was made of another model, or for another task",
        )
