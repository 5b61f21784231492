"""One exception family. Every error names what was found, what was required, and what to do.

Each class carries a stable `code` (for `--json`) and the process exit code. Foreign exceptions
are wrapped where they are met; anything that escapes keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher


class EdgepackError(Exception):
    """Base of all errors a user can cause or meet: `message` says what is, `hint` what to do."""

    code = "error"
    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(EdgepackError):
    """A flag or a name that means nothing: an unknown scheme, device, profile."""

    code = "usage"
    exit_code = 2


class DoesNotFit(EdgepackError):
    """Nothing asked for fits the device."""

    code = "does_not_fit"
    exit_code = 3


class FidelityFailed(EdgepackError):
    """The artifact was measured and is too far from the reference."""

    code = "fidelity_failed"
    exit_code = 4


class InvalidMeasurement(FidelityFailed):
    """What was measured is no version of the reference: the distance means nothing."""

    code = "invalid_measurement"
    exit_code = 5


class DamagedInput(EdgepackError):
    """A file breaks its own format, or differs from its recorded digest."""

    code = "damaged_input"
    exit_code = 5


class Unsupported(EdgepackError):
    """A well-formed input of a kind edgepack does not handle."""

    code = "unsupported"
    exit_code = 1


class Missing(EdgepackError):
    """Something needed is not here: a file, the network, an extra that is not installed."""

    code = "missing"
    exit_code = 6


class FidelityInconclusive(EdgepackError):
    """The sample is too small to tell pass from fail."""

    code = "fidelity_inconclusive"
    exit_code = 7


class OutputError(EdgepackError):
    """The output cannot be written: it exists, the disk is full, the folder is read-only."""

    code = "output"
    exit_code = 1


MOST_NAMED = 24
"""Names that a hint lists: more are a catalogue, which has its own command."""


def unknown(kind: str, name: str, known: Iterable[str], listed: str = "") -> UsageError:
    """A UsageError for `name` that offers the nearest of the `known` names.

    Where none is near, all of them; of a great many, what `listed` says of where they are listed.
    """
    names = sorted(known)
    likeness = {n: SequenceMatcher(None, n.lower(), name.lower()).ratio() for n in names}
    best = max(likeness.values(), default=0.0)
    near = [repr(n) for n in names if likeness[n] == best]
    every = f"known: {', '.join(names)}" if len(names) <= MOST_NAMED or not listed else listed
    hint = f"did you mean {' or '.join(near)}?" if best >= 0.5 else every
    return UsageError(f"unknown {kind} {name!r}", hint)


def missing_extra(package: str, extra: str) -> Missing:
    """A Missing error for an optional dependency, with the command that installs it."""
    return Missing(
        f"{package} is not installed", f"install it with: python -m pip install 'edgepack[{extra}]'"
    )
