"""Text that the models write themselves: replies to compare, and traces to measure on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from edgepack.errors import UsageError
from edgepack.fidelity import Document, generation
from edgepack.fidelity.decoding import Decoding, Written, bfloat16, sampler
from edgepack.fidelity.generation import LIMIT, PROMPTS, GenerationReport
from edgepack.fidelity.replies import Reply, prompt_of, read_reply
from edgepack.fidelity.runtimes import Runtime
from edgepack.fidelity.spans import Span, reply_spans
from edgepack.models import Checkpoint
from edgepack.pipeline.progress import Report, silent, staged_progress

SELF_TEMPERATURE = 1.0  # the model's own distribution


@dataclass(frozen=True, slots=True)
class Replies:
    """What the reference and its rounded self reply to the first prompts of a corpus.

    Written once, for all artifacts.
    """

    checkpoint: Checkpoint
    names: tuple[str, ...]
    prompts: tuple[tuple[int, ...], ...]
    limit: int
    reference: tuple[Reply, ...]
    gaps: tuple[tuple[float, ...], ...]
    control: tuple[Reply, ...]

    def compare(self, runtime: Runtime, report: Report = silent) -> GenerationReport:
        """The artifact's own replies, beside them: it stops where it would by itself."""
        progress = staged_progress(report, f"generate {runtime.name}")
        own, tokenizer = runtime.special_ids, self.checkpoint.tokenizer
        stops: Collection[int] = self.checkpoint.stop_ids
        if own is not None and own.stops is not None:
            stops = own.stops
        made = []
        for index, prompt in enumerate(self.prompts):
            tokens = runtime.generate(prompt, self.limit, stops)
            stopped = bool(tokens) and tokens[-1] in stops
            made.append(read_reply(prompt, tokens, stopped=stopped, tokenizer=tokenizer))
            progress(index + 1, len(self.prompts))
        return generation.compare(
            self.names, self.reference, self.gaps, made, self.control, self.limit
        )


def replies(
    checkpoint: Checkpoint,
    documents: Sequence[Document],
    report: Report = silent,
    *,
    prompts: int = PROMPTS,
    limit: int = LIMIT,
) -> Replies:
    """The reference's replies, greedy, of at most `limit` tokens. Raises as Decoding does."""
    chosen = documents[:prompts]
    asked = tuple(prompt_of(document) for document in chosen)
    stops, tokenizer = checkpoint.stop_ids, checkpoint.tokenizer
    decoding = Decoding(checkpoint)
    own, control = (
        each.write(asked, limit, stops, progress=staged_progress(report, stage))
        for each, stage in (
            (decoding, "generate reference"),
            (decoding.rounded(bfloat16), "generate control"),
        )
    )

    def read(written: Sequence[Written]) -> tuple[Reply, ...]:
        pairs = zip(asked, written, strict=True)
        return tuple(
            read_reply(prompt, one.tokens, stopped=one.stopped, tokenizer=tokenizer)
            for prompt, one in pairs
        )

    return Replies(
        checkpoint,
        tuple(document.name for document in chosen),
        asked,
        limit,
        read(own),
        tuple(tuple(one.gaps) for one in own),
        read(control),
    )


def self_sampled(
    checkpoint: Checkpoint,
    documents: Sequence[Document],
    count: int,
    *,
    seed: int = 0,
    temperature: float = SELF_TEMPERATURE,
    limit: int = LIMIT,
    report: Report = silent,
) -> tuple[Document, ...]:
    """`count` traces drawn from the reference after the prompts of `documents`, in turn.

    The same seed gives the same traces. Raises UsageError for a temperature that is not above 0,
    and as Decoding does.
    """
    if not temperature > 0:
        raise UsageError(f"nothing is drawn at temperature {temperature}", "give one above 0")
    sources = [documents[i % len(documents)] for i in range(count)]
    asked = [prompt_of(document) for document in sources]
    written = Decoding(checkpoint).write(
        asked,
        limit,
        checkpoint.stop_ids,
        sampler(temperature, seed),
        staged_progress(report, "self-sample"),
    )
    pairs = zip(sources, asked, written, strict=True)
    return tuple(
        _traced(f"self:{n} of {source.name}", source, prompt, one, checkpoint)
        for n, (source, prompt, one) in enumerate(pairs, start=1)
    )


def _traced(
    name: str, source: Document, prompt: tuple[int, ...], one: Written, checkpoint: Checkpoint
) -> Document:
    before = source.spans[: len(prompt)]
    if source.spans[0] == "text":
        text: Span = "text"
        return Document(name, (*prompt, *one.tokens), (*before, *(text for _ in one.tokens)))
    spans = reply_spans([*prompt[-1:], *one.tokens], checkpoint.tokenizer)[1:]
    return Document(name, (*prompt, *one.tokens), (*before, *spans))
