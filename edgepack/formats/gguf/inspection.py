"""Describing a GGUF, whoever wrote it: its files found, its types counted, its tensors digested."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from edgepack.formats.artifact import Artifact, EncodingCount, FileRecord
from edgepack.formats.digests import digests_of
from edgepack.formats.gguf import split
from edgepack.formats.gguf.cursor import damaged
from edgepack.formats.gguf.layout import ARCHITECTURE_KEY
from edgepack.formats.gguf.metadata import FILE_TYPES, OVERRIDES_KEY
from edgepack.formats.gguf.reader import Head, read_head


def read_parts(entry: Path) -> dict[Path, Head]:
    """The heads of all files of the model whose first is `entry`, in order; most have but one.

    Raises DamagedInput as `read_head` does, for a file that is missing, and for files that do not
    belong together.
    """
    first = read_head(entry)
    count = first.values.get(split.COUNT, 1)
    if not isinstance(count, int):
        raise damaged(entry, f"{split.COUNT} is {count!r}; a number is required")
    if count < 2:
        return {entry: first}
    _check_part(entry, first, 0, count)
    named = split.NAME.fullmatch(entry.name)
    if named is None or entry.name != split.part_name(named[1], 0, count):
        wanted = split.part_name("NAME", 0, count)
        raise damaged(entry, f"it is the first of {count} files", f"it must be called {wanted}")
    parts = {entry: first}
    for number in range(1, count):
        path = entry.with_name(split.part_name(named[1], number, count))
        if not path.is_file():
            raise damaged(entry, f"{path.name} is missing, one of its {count} files", "fetch it")
        parts[path] = read_head(path)
        _check_part(path, parts[path], number, count)
    _check_tensors(entry, parts)
    return parts


def _check_part(path: Path, head: Head, number: int, count: object) -> None:
    """`head` is that of the file of this number."""
    found = head.values.get(split.NUMBER), head.values.get(split.COUNT)
    if found != (number, count):
        own, of = found
        what = f"{split.NUMBER} is {own} and {split.COUNT} {of}, not {number} and {count}"
        hint = "fetch it again" if number else f"name the first file: {split.first_part(path).name}"
        raise damaged(path, what, hint)


def _check_tensors(entry: Path, parts: Mapping[Path, Head]) -> None:
    """All that the first file counts are there, each once."""
    names = Counter(tensor.name for head in parts.values() for tensor in head.tensors)
    twice = next((name for name, times in names.items() if times > 1), None)
    if twice is not None:
        raise damaged(entry, f"tensor {twice!r} is in two of its files")
    stated = parts[entry].values.get(split.TENSORS)
    if stated != len(names):
        raise damaged(entry, f"{split.TENSORS} is {stated}, and its files have {len(names)}")


def inspect(path: Path) -> Artifact:
    """Describe the GGUF whose only, or first, file is `path`. Raises as `read_parts` does."""
    parts = read_parts(path)
    head = parts[path]
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for tensor in (tensor for part in parts.values() for tensor in part.tensors):
        counts[tensor.encoding] += 1
        sizes[tensor.encoding] += tensor.size
    architecture = architecture_of(path, head)
    try:
        wholes, tensor_digest = digests_of({file: part.tensors for file, part in parts.items()})
        records = tuple(
            FileRecord(file.name, file.stat().st_size, sha256)
            for file, sha256 in zip(parts, wholes, strict=True)
        )
    except (ValueError, OSError) as error:  # it changed since
        raise damaged(path, str(error)) from error
    return Artifact(
        format="gguf",
        scheme=scheme_of(head),
        architecture=architecture,
        files=records,
        tensor_digest=tensor_digest,
        histogram=tuple(EncodingCount(n, counts[n], total) for n, total in sizes.most_common()),
    )


def made_by(path: Path) -> str:
    """`general.quantized_by`: the program that wrote the file, empty where it does not say.

    Raises DamagedInput.
    """
    name = read_head(path).values.get("general.quantized_by")
    return name if isinstance(name, str) else ""


def scheme_of(head: Head) -> str:
    """The scheme that `general.file_type` names; "unknown" where there is none, or a newer one.

    What we wrote under overrides says so, and is then named as `GgufScheme.name` has it.
    """
    number = head.values.get("general.file_type")
    name = next((name for name, known in FILE_TYPES.items() if known == number), "unknown")
    return f"{name}-custom" if OVERRIDES_KEY in head.values else name


def architecture_of(path: Path, head: Head) -> str:
    """What llama.cpp calls the model. Raises DamagedInput where the file does not say."""
    name = head.values.get(ARCHITECTURE_KEY)
    if not isinstance(name, str) or not name:
        found = "missing" if name is None else "no name"
        raise damaged(path, f"{ARCHITECTURE_KEY} is {found}; the model's architecture is required")
    return name
