"""`edgepack validate`: how far an artifact is from its checkpoint, and whether that is too far."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgepack.cli import options as given
from edgepack.cli.output import Answer, command, progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgepack.fidelity import FidelityReport
    from edgepack.pipeline.validate import ValidateRequest


# What is read by those that give no verdict on an artifact; artifacts have an error of their own.
_OF_SELF_TEST = frozenset({"artifacts", "reference", "corpus", "profile"})
_OF_PAIRS = frozenset({"artifacts", "as_draft_for", "corpus", "seed"})


@command
def validate(
    artifacts: Annotated[
        list[str] | None,
        typer.Argument(metavar="ARTIFACT", help="A file or a package; may be several."),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="The full-precision checkpoint it came from."),
    ] = None,
    corpus: given.Corpus = None,
    self_sample: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Measure on N traces that MODEL itself writes to the prompts."
        ),
    ] = None,
    profile: given.Gate = "balanced",
    baseline: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="JSON of an earlier run; a significant loss against it fails."
        ),
    ] = None,
    until_decided: Annotated[
        bool,
        typer.Option("--until-decided", help="Measure on more of the corpus until it is decided."),
    ] = False,
    generate: Annotated[
        bool, typer.Option("--generate", help="Also let both answer freely, and compare.")
    ] = False,
    as_draft_for: Annotated[
        str | None,
        typer.Option(
            metavar="TARGET",
            help="As a draft for TARGET; without --reference, only that.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="What all drawing at random starts from.")
    ] = 0,
    temperature: Annotated[
        float | None, typer.Option(metavar="T", help="Also compare at this temperature.")
    ] = None,
    loss_alpha: Annotated[
        float | None,
        typer.Option(metavar="A", min=0, max=1, help="Weight of CE in the distillation loss."),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(metavar="N", help="Tokens run at once; the model's own window if not said."),
    ] = None,
    self_test: Annotated[
        bool,
        typer.Option("--self-test", help="No artifact: show that every limit trips on damage."),
    ] = False,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the checks as JUnit XML.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write one page to read and to keep.")
    ] = None,
    as_json: given.Json = False,
) -> Answer:
    """Measure ARTIFACT in its real runtime against MODEL. Exit 4 if it fails, 7 if undecided."""
    from edgepack.cli import tables
    from edgepack.pipeline import validate as verb
    from edgepack.pipeline.verdicts import verdict_error

    request = verb.ValidateRequest(
        tuple(artifacts or ()), reference or "", corpus=corpus, self_sample=self_sample,
        profile=profile, baseline=baseline, until_decided=until_decided, generate=generate,
        as_draft_for=as_draft_for, seed=seed, temperature=temperature, alpha=loss_alpha,
        window=window,
    )  # fmt: skip
    if self_test:
        _refuse_ignored("--self-test", request, _OF_SELF_TEST, junit, html)
        return _self_test(request, quiet=as_json)
    if as_draft_for and not reference:
        _refuse_ignored("--as-draft-for without --reference", request, _OF_PAIRS, junit, html)
        return _pairs(request, quiet=as_json)
    with progress(quiet=as_json) as report:
        found = verb.validate(request, report)
    _write_files(tuple(zip(request.artifacts, found, strict=True)), junit, html)

    def text() -> None:
        for each in found:
            tables.fidelity(each)

    return Answer(_data(found), text, error=verdict_error(found))


def _refuse_ignored(
    mode: str, request: ValidateRequest, read: frozenset[str], junit: Path | None, html: Path | None
) -> None:
    """Raises UsageError for an option that `mode` would not read: `read` are those that it does."""
    from dataclasses import asdict

    from edgepack.errors import UsageError
    from edgepack.pipeline.validate import ValidateRequest

    usual = asdict(ValidateRequest())
    asked = [key for key, value in asdict(request).items() if value != usual[key]]
    asked += [key for key, path in (("junit", junit), ("html", html)) if path is not None]
    for key in asked:
        if key not in read:
            flag = "--loss-alpha" if key == "alpha" else f"--{key.replace('_', '-')}"
            raise UsageError(f"{mode} does not read {flag}", "leave one of them out")


def _pairs(request: ValidateRequest, *, quiet: bool) -> Answer:
    """No verdict: how often the target takes what each proposes."""
    from edgepack.cli import behaviour
    from edgepack.cli.plain import plain
    from edgepack.pipeline.validate import draft_reports

    with progress(quiet=quiet) as report:
        found = draft_reports(request, report)

    def text() -> None:
        for each in found:
            behaviour.draft(each)

    return Answer({"drafts": [plain(each) for each in found]}, text)


def _data(reports: tuple[FidelityReport, ...]) -> dict[str, Any]:
    """The report of one artifact as it is; those of several in a list, as they were named."""
    if len(reports) == 1:
        return reports[0].to_dict()
    return {"reports": [report.to_dict() for report in reports]}


def _write_files(
    named: Sequence[tuple[str, FidelityReport]], junit: Path | None, html: Path | None
) -> None:
    """The reports in the forms asked for. Raises OutputError."""
    from edgepack.errors import OutputError
    from edgepack.fidelity.html import page
    from edgepack.fidelity.junit import junit as xml

    for path, text in ((junit, xml), (html, page)):
        if path is None:
            continue
        try:
            path.write_text(text(named), encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror}", "") from error


def _self_test(request: ValidateRequest, *, quiet: bool) -> Answer:
    from edgepack.cli import tables
    from edgepack.cli.plain import plain
    from edgepack.errors import UsageError
    from edgepack.pipeline.selftest import self_test, self_test_error

    if request.artifacts:
        raise UsageError("--self-test was given with an artifact", "leave one of them out")
    with progress(quiet=quiet) as report:
        found = self_test(request, report)
    return Answer(plain(found), lambda: tables.self_test(found), error=self_test_error(found))
