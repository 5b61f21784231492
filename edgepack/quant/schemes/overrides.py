"""`Overrides`: what was asked of single tensors of a GGUF, as llama-quantize takes it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from edgepack.errors import UsageError, unknown
from edgepack.models.decoder import Weight
from edgepack.quant.encodings import BlockEncoding
from edgepack.quant.ggml import STORED


@dataclass(frozen=True, slots=True)
class Override:
    """Tensors in whose names `pattern` is found get `encoding`."""

    pattern: re.Pattern[str]
    encoding: BlockEncoding

    def __str__(self) -> str:
        return f"{self.pattern.pattern}={self.encoding.name}"


@dataclass(frozen=True, slots=True)
class Overrides:
    """Of `tensors` the first that is found counts; `output` and `embedding` go before them.

    `pure` leaves a scheme's own exceptions out: every matrix gets its base.
    """

    tensors: tuple[Override, ...] = ()
    output: BlockEncoding | None = None
    embedding: BlockEncoding | None = None
    pure: bool = False

    def __bool__(self) -> bool:
        return self != NONE

    def __str__(self) -> str:
        """As options of the command line, which a file written under them records."""
        options = [f"--tensor-type {override}" for override in self.tensors]
        if self.output:
            options.append(f"--output-type {self.output.name}")
        if self.embedding:
            options.append(f"--embedding-type {self.embedding.name}")
        if self.pure:
            options.append("--pure")
        return " ".join(options)

    def named(self, name: str) -> BlockEncoding | None:
        """What the tensor `name` was asked to be."""
        if self.embedding and name == "token_embd.weight":
            return self.embedding
        if self.output and name == "output.weight":
            return self.output
        return next((o.encoding for o in self.tensors if o.pattern.search(name)), None)

    def check(self, weights: Iterable[Weight]) -> None:
        """Raises UsageError for a pattern that is found in none of the weights' names."""
        names = [weight.name for weight in weights]
        for override in self.tensors:
            if not any(map(override.pattern.search, names)):
                raise UsageError(
                    f"--tensor-type {override}: no tensor that can be quantized has such a name",
                    f"names are {names[0]}, {names[len(names) // 2]} and so on",
                )


NONE = Overrides()


def overrides(
    tensors: Iterable[str] = (),
    output: str | None = None,
    embedding: str | None = None,
    *,
    pure: bool = False,
) -> Overrides:
    """From the words of a command line: `tensors` are REGEX=TYPE, in any case.

    Raises UsageError for what is no regular expression, and for unknown types with a near match.
    """
    return Overrides(
        tuple(map(_override, tensors)),
        _encoding(output) if output else None,
        _encoding(embedding) if embedding else None,
        pure,
    )


def _override(text: str) -> Override:
    pattern, equals, name = text.rpartition("=")
    if not (pattern and equals and name):
        raise UsageError(
            f"--tensor-type {text!r} is not REGEX=TYPE", "write it as in ffn_down=Q6_K"
        )
    try:
        return Override(re.compile(pattern, re.IGNORECASE), _encoding(name))
    except re.error as error:
        raise UsageError(
            f"--tensor-type {text!r}: {pattern!r} is no regular expression: {error}",
            "a plain part of a tensor's name, such as ffn_down, is one",
        ) from error


def _encoding(name: str) -> BlockEncoding:
    found = STORED.get(name.upper())
    if found is None:
        raise unknown("tensor type", name, STORED)
    return found
