"""Profiles: the limits a verdict is held to, for the whole sample and span by span.

Four are known by name. One's own is a TOML file:

    base = "balanced"      # whatever is not stated below is this profile's; it is the default
    [limits]               # the whole sample, and every span that states no other
    kl_mean = 0.03
    [spans.think]          # prompt, think, answer, tool_call, control or text
    kl_mean = 0.02
    top1 = 0.95

What each limit means is in MEANINGS, and reports say it beside the figure. Text that a machine
reads (tool calls, control tokens) is held to half the mean and to no hard flip at all, unless the
file states otherwise. In the prompt first choices are gated only where the file limits them:
nobody samples there, and where the reference prefers nothing (the digits of a question) an equal
first choice says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from edgepack.errors import DamagedInput, Missing, UsageError, unknown
from edgepack.fidelity.spans import SPANS, Span

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgepack.profiles import Table

DEFAULT_PROFILE: Final = "balanced"
# Text that a machine reads: one wrong token there breaks the whole.
STRICT_SPANS: Final[frozenset[Span]] = frozenset({"tool_call", "control"})
MEANINGS: Final = MappingProxyType(
    {
        "mean KLD": "what the artifact loses on an average token, in nats",
        "p99 KLD": "what the worst token in a hundred loses, in nats",
        "p99.9 KLD": "what the worst token in a thousand loses, in nats",
        "top-1 agreement": "how often the artifact's first choice is the reference's",
        "hard flips": "how often a first choice changes that the reference preferred by over 1 nat",
        "broken documents": "how many documents hold a first choice that changed although the "
        "reference gave it 20 times the probability of any other",
    }
)


@dataclass(frozen=True, slots=True)
class SpanLimits:
    """Limits of one span, as Profile has them; what is None is as the profile has it."""

    kl_mean: float | None = None
    kl_p99: float | None = None
    kl_p999: float | None = None
    top1: float | None = None
    hard_flips: float | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """Limits on KLD (nats), and on the shares of equal first choices, hard flips, broken documents.

    `floor_multiple` times the measured noise floor replaces a smaller limit on the mean; zero
    switches that off. `base` is the named profile that one's own began with.
    """

    name: str
    kl_mean: float
    kl_p99: float
    kl_p999: float
    top1: float
    hard_flips: float
    broken_documents: float
    floor_multiple: float = 0.0
    spans: Mapping[str, SpanLimits] = field(default_factory=dict)
    base: str = ""

    def within(self, scope: str) -> SpanLimits:
        """The limits that hold in `scope`, a span or "all"; a figure that is not gated is None."""
        strict = scope in STRICT_SPANS
        inherited = SpanLimits(
            self.kl_mean / (2 if strict else 1),
            self.kl_p99,
            self.kl_p999,
            None if scope == "prompt" else self.top1,
            0.0 if strict else self.hard_flips,
        )
        own = self.spans.get(scope, SpanLimits())
        stated = {f.name: getattr(own, f.name) for f in fields(own)}
        return replace(inherited, **{k: v for k, v in stated.items() if v is not None})


PROFILES: Final = (
    Profile("convert", 1e-4, 0.005, 0.02, 0.995, 0.0, 0.0, floor_multiple=3.0),
    Profile("near-lossless", 0.005, 0.03, 0.10, 0.965, 1e-4, 0.05),
    Profile("balanced", 0.05, 0.50, 2.0, 0.91, 0.005, 0.05),
    Profile("aggressive", 0.15, 1.5, 4.0, 0.85, 0.02, 0.15),
)
_DISTANCES: Final = ("kl_mean", "kl_p99", "kl_p999")
_SHARES: Final = ("top1", "hard_flips")
# Beyond it a noise floor would allow what no limit on the mean does.
LARGEST_FLOOR_MULTIPLE: Final = 100


def profile(name: str = DEFAULT_PROFILE) -> Profile:
    """The profile called `name`, or that of a TOML file.

    Raises UsageError with the nearest name or key, Missing where a file is not there, DamagedInput
    where it cannot be read.
    """
    for known in PROFILES:
        if known.name == name:
            return known
    if name.endswith(".toml") or Path(name).name != name:
        return read_profile(Path(name))
    raise unknown("fidelity profile", name, [known.name for known in PROFILES])


def read_profile(path: Path) -> Profile:
    """The profile in a TOML file; raises as `profile` does."""
    table = _table(path)
    table.expect("name", "base", "limits", "spans")
    base = table.text("base") or DEFAULT_PROFILE
    known = {known.name: known for known in PROFILES}
    name = table.text("name") or path.stem
    if name in known:
        hint = f'state another in it, such as name = "our-{name}"'
        raise UsageError(f"{path}: its name {name!r} is that of a profile of edgepack's", hint)
    begun = known.get(base)
    if begun is None:
        raise unknown(f"base in {path}:", base, list(known))
    limits = table.table("limits")
    limits.expect(*_DISTANCES, *_SHARES, "broken_documents", "floor_multiple")
    stated = {
        **_stated(limits),
        "broken_documents": limits.share("broken_documents"),
        "floor_multiple": limits.between("floor_multiple", 0, LARGEST_FLOOR_MULTIPLE),
    }
    spans = table.table("spans").expect(*SPANS)
    return replace(
        begun,
        name=name,
        base=base,
        spans={span: _span(spans.table(span)) for span in spans.content},
        **{key: value for key, value in stated.items() if value is not None},
    )


def _table(path: Path) -> Table:
    import tomllib

    from edgepack.profiles import Table

    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise Missing(f"{path} does not exist", "name a profile, or its TOML file") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: {error}", "a profile is a TOML file") from error
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise DamagedInput(
            f"{path} cannot be read: {reason}", "a profile is a TOML file"
        ) from error
    return Table(str(path), content)


def _span(table: Table) -> SpanLimits:
    return SpanLimits(**_stated(table.expect(*_DISTANCES, *_SHARES)))


def _stated(table: Table) -> dict[str, float | None]:
    return {
        **{key: table.rate(key) for key in _DISTANCES},
        **{key: table.share(key) for key in _SHARES},
    }
