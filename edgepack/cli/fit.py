"""`edgepack fit`: what a model needs on a device, or which models a device can run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgepack.cli import options as given
from edgepack.cli.options import size, target
from edgepack.cli.output import Answer, command

if TYPE_CHECKING:
    from edgepack.hardware import Hardware
    from edgepack.memory import Fit
    from edgepack.pipeline.drafts import Paired
    from edgepack.pipeline.fit import FitTable
    from edgepack.pipeline.ranking import Ranking


@command
def fit(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="Checkpoint, GGUF, hub id or catalogue name; without it, the whole catalogue.",
        ),
    ] = None,
    device: given.Device = None,
    memory: given.Memory = None,
    bandwidth: given.Bandwidth = None,
    ctx: given.Context = None,
    kv: given.Cache = None,
    slots: given.Slots = None,
    program: Annotated[
        str | None, typer.Option(metavar="NAME", help="GGUF: llama-cli or llama-server.")
    ] = None,
    ubatch: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=given.MOST, help="GGUF: tokens of one pass [512]."),
    ] = None,
    no_flash_attention: Annotated[
        bool, typer.Option("--no-flash-attention", help="GGUF: without flash attention.")
    ] = False,
    no_unified: Annotated[
        bool, typer.Option("--no-unified", help="GGUF: each slot has a cache of its own.")
    ] = False,
    projector: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Of a multimodal model's projector: 800M.")
    ] = None,
    require: Annotated[
        str | None,
        typer.Option(metavar="EXPR", help="Exit 3 unless it holds, for example ctx>=8192,tps>=20."),
    ] = None,
    draft: Annotated[
        str | None, typer.Option(metavar="MODEL", help="A small model that drafts for MODEL.")
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Run MODEL here for some seconds (GGUF, llama.cpp).")
    ] = False,
    to: given.To = ["gguf"],  # noqa: B006  # typer copies it
    scheme: given.SchemeName = None,
    bits: given.Bits = None,
    group: given.Group = None,
    tensor_type: given.TensorTypes = [],  # noqa: B006
    output_type: given.OutputType = None,
    embedding_type: given.EmbeddingType = None,
    pure: given.Pure = False,
    imatrix: given.Imatrix = None,
    as_json: given.Json = False,
) -> Answer:
    """What MODEL needs at every bit width, and what of it fits. Exit 3 if nothing does."""
    from edgepack.cli import fit_measured, fit_tables
    from edgepack.errors import UsageError
    from edgepack.pipeline import fit as verb
    from edgepack.pipeline.choice import Choice
    from edgepack.pipeline.ranking import rank
    from edgepack.quant.schemes.overrides import overrides

    asked = overrides(tensor_type, output_type, embedding_type, pure=pure)
    choice = Choice(tuple(to), scheme, bits, group, False, asked, imatrix)
    place = target(device, size(memory), bandwidth)
    settings = verb.Settings(
        ctx, kv, slots, program, ubatch, not no_flash_attention, not no_unified,
        size(projector) or 0,
    )  # fmt: skip
    if measure:
        if model is None or draft is not None:
            raise UsageError("--measure runs one model", "name it, and no --draft")
        return fit_measured.measured(model, place, settings, choice, require, quiet=as_json)
    if model is None:
        if draft is not None:
            raise UsageError("--draft was given without a model", "name the model it drafts for")
        ranking = rank(place, settings, choice, require=require)
        return Answer(
            _ranking_data(ranking), lambda: fit_tables.ranked(ranking), error=ranking.error
        )
    answer = verb.fit(model, place, settings, choice, require=require, draft=draft)
    return Answer(table_data(answer), lambda: fit_tables.fitted(answer), error=answer.error)


def fit_data(fit: Fit) -> dict[str, Any]:
    """One fit for `--json`, with the figures that follow from others."""
    from edgepack.cli.plain import plain

    return {
        **plain(fit),
        "total": fit.footprint.total,
        "fits": fit.fits,
        "comfortable": fit.comfortable,
        "headroom": fit.headroom,
        "fidelity": fit.fidelity,
        "place": fit.place,
        "arguments": list(fit.placement.arguments),
    }


def table_data(answer: FitTable) -> dict[str, Any]:
    from edgepack.cli.plain import plain
    from edgepack.memory.requirements import shortfalls

    return {
        "model": answer.model,
        "parameters": answer.parameters,
        "context_length": answer.context_length,
        "device": answer.hardware.name,
        "hardware": _hardware_data(answer.hardware),
        "required": plain(answer.asked),
        "cache": plain(answer.cache),
        "fits": [
            {
                "format": row.form.name,
                "deployment": plain(row.deployment),
                **fit_data(row.fit),
                "unmet": list(shortfalls(row.fit, answer.asked)),
            }
            for row in answer.rows
        ],
        "pairs": [_pair_data(each) for each in answer.pairs],
    }


def _hardware_data(hardware: Hardware) -> dict[str, Any]:
    """The device's figures, and where of it a model can run, best first."""
    from edgepack.cli.plain import plain

    return {
        **plain(hardware),
        "places": plain(hardware.places),
        "cards": plain(hardware.cards),
    }


def _pair_data(each: Paired) -> dict[str, Any]:
    from edgepack.cli.plain import plain

    return {
        "format": each.format,
        "scheme": each.scheme,
        "fits": each.pair.fits,
        "cost": each.pair.cost,
        "total": each.total,
        "target": fit_data(each.pair.target),
        "draft": fit_data(each.pair.draft),
        "speedups": plain(each.pair.speedups),
    }


def _ranking_data(ranking: Ranking) -> dict[str, Any]:
    from edgepack.cli.plain import plain
    from edgepack.memory.requirements import shortfalls

    return {
        "device": ranking.hardware.name,
        "hardware": _hardware_data(ranking.hardware),
        "context": ranking.context,
        "required": plain(ranking.asked),
        "considered": ranking.considered,
        "models": [
            {
                "name": each.name,
                "repository": each.repository,
                "parameters": each.parameters,
                "format": each.weighed.form.name,
                "deployment": plain(each.weighed.deployment),
                **fit_data(each.weighed.fit),
                "unmet": list(shortfalls(each.weighed.fit, ranking.asked)),
            }
            for each in ranking.models
        ],
    }
