"""The verb `fit`: every scheme weighed on one device, from the model's shape alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgepack import memory, models
from edgepack.hardware import Hardware
from edgepack.memory import Deployment, Fit
from edgepack.models import Decoder
from edgepack.pipeline.device import Target
from edgepack.quant.schemes import FAITHFUL, Scheme

DEFAULT_CONTEXT = 4096
FIT_SCHEMES = ("F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K")


@dataclass(frozen=True, slots=True)
class Settings:
    """What was asked of the runtime; a context of None means the default or the trained one."""

    context: int | None = None
    kv_type: str = "f16"
    slots: int = 1

    def deployment(self, decoder: Decoder) -> Deployment:
        context = self.context or min(DEFAULT_CONTEXT, decoder.context_length)
        return Deployment(context, self.kv_type, self.kv_type, self.slots)


@dataclass(frozen=True, slots=True)
class FitTable:
    """One model on one device: a Fit per scheme, most faithful first."""

    model: str
    decoder: Decoder
    hardware: Hardware
    deployment: Deployment
    fits: tuple[Fit, ...]

    @property
    def chosen(self) -> Fit:
        """What `--scheme auto` takes. Raises DoesNotFit."""
        return memory.choose(self.fits)


def fit(
    model: str, target: Target, settings: Settings, schemes: Sequence[str] = FIT_SCHEMES
) -> FitTable:
    """Weigh `model` (a folder or hub id; only config.json is read) under each scheme.

    Raises whatever opening the model, the device and the settings raise; whether anything fits is
    in the table.
    """
    name, decoder = models.read_decoder(model)
    hardware = target.hardware()
    deployment = settings.deployment(decoder)
    chosen = tuple(s for s in FAITHFUL if s.name in schemes)
    fits = memory.fit_all(decoder, hardware, deployment, chosen)
    return FitTable(name, decoder, hardware, deployment, fits)


def fit_scheme(decoder: Decoder, hardware: Hardware, deployment: Deployment, name: str) -> Fit:
    """The Fit of the scheme called `name`; `auto` takes the most faithful one up to Q8_0.

    Raises UsageError for an unknown scheme, DoesNotFit.
    """
    from edgepack.errors import DoesNotFit
    from edgepack.quant.schemes import scheme
    from edgepack.units import format_bytes

    if name.lower() == "auto":
        return memory.choose(memory.fit_all(decoder, hardware, deployment, FAITHFUL))
    chosen: Scheme = scheme(name)
    fit = memory.fit(decoder, chosen, hardware, deployment)
    if not fit.fits:
        longest = fit.longest_context
        raise DoesNotFit(
            f"{fit.scheme} needs {format_bytes(fit.footprint.total)} at a context of "
            f"{deployment.context}; {hardware.name} offers {format_bytes(fit.budget)}",
            f"it fits with --ctx {longest}" if longest else "--scheme auto takes what fits",
        )
    return fit
