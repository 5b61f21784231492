"""The workshop: formats behind one small Protocol, each a folder of its own."""

from edgepack.errors import unknown
from edgepack.formats.artifact import Artifact, EncodingCount, FileRecord
from edgepack.formats.protocol import Format, Progress

__all__ = ["Artifact", "EncodingCount", "FileRecord", "Format", "Progress", "known", "named"]


def known() -> tuple[str, ...]:
    """The names `--to` accepts."""
    return ("gguf",)


def named(name: str) -> Format:
    """The format of that name. Raises UsageError with a near match."""
    if name.lower() == "gguf":
        from edgepack.formats.gguf import Gguf

        return Gguf()
    raise unknown("format", name, known())
