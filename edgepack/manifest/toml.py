"""edgepack.toml as text: the same manifest always gives the same bytes, and reading is strict."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from edgepack.errors import DamagedInput
from edgepack.manifest.codec import Codec, Rule, to_table
from edgepack.manifest.manifest import SCHEMA, Manifest
from edgepack.memory import CACHE_TYPES, CONTEXT_STEP

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_ELEMENT: Final = ", ".join(
    f"{kind.name} {kind.block_bytes}{f'/{kind.block}' if kind.quantized else ''}"
    for kind in CACHE_TYPES.values()
)

HEADER: Final = f"""\
# An edgepack package. `edgepack verify` recomputes its files, digests, sums and verdict.
#
# The memory law, for a context of one's own:
#   cells = the context, rounded up to a multiple of {CONTEXT_STEP}
#   KV cache in bytes = sum over memory.cache of layers * cells * (k_elements * K + v_elements * V)
#   K, V = bytes per element: {_ELEMENT}
# A group with a window has min(cells, window * slots + min(micro_batch, context)), rounded up.
# Slots without a unified cache have one each, of context / slots cells, and a window of their own.

"""


def dumps(manifest: Manifest) -> str:
    """The text of edgepack.toml."""
    import tomli_w

    return HEADER + tomli_w.dumps(to_table(manifest))


def text_digest(manifest: Manifest) -> str:
    """The digest that `manifest` must carry: of its tables with an empty one in its place.

    Comments, and keys that other tools added, are not part of it.
    """
    import tomli_w

    text = tomli_w.dumps(to_table(replace(manifest, digest="")))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def loads(text: str, file: str) -> Manifest:
    """The manifest in `text`; `file` names it in errors.

    Raises DamagedInput naming the key that is unknown, missing, of a wrong type, or no digest or
    path that a package may hold; and for a schema other than this release's.
    """
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also integers beyond all bounds
        raise DamagedInput(f"{file}: not TOML: {error}", "restore the file") from error
    codec = Codec(file, RULES)
    _check_schema(codec, table.get("schema"))
    manifest = codec.record(Manifest, table)
    _check_artifacts(codec, manifest)
    return manifest


def _check_schema(codec: Codec, schema: object) -> None:
    if schema == SCHEMA:
        return
    if isinstance(schema, str) and re.fullmatch(r"edgepack/[1-9]\d{0,8}", schema):
        hint = "a newer edgepack wrote it: python -m pip install --upgrade edgepack"
        raise codec.damaged("schema", f"is {schema!r}; this release reads {SCHEMA!r}", hint)
    raise codec.damaged("schema", f"must be {SCHEMA!r}: this is no package of edgepack")


def _check_artifacts(codec: Codec, manifest: Manifest) -> None:
    """A package holds an artifact, and an artifact holds the file that a runtime opens."""
    if not manifest.artifacts:
        raise codec.damaged("artifacts", "is empty")
    for index, artifact in enumerate(manifest.artifacts):
        if not artifact.files:
            raise codec.damaged(f"artifacts[{index}].files", "is empty")


def _digest_fault(text: str) -> str:
    return "" if _DIGEST.fullmatch(text) else f"is {text!r}, not sha256: and 64 hex digits"


def _path_fault(text: str) -> str:
    """Refuses what could lead out of a folder on any system, or look like another name.

    Unprintable characters include NUL, line ends and those that turn the direction of text.
    """
    parts = text.split("/")
    if text.startswith("/") or _DRIVE.match(text):
        return f"is {text!r}, an absolute path"
    if "\\" in text or not text.isprintable() or any(part in ("", ".", "..") for part in parts):
        return f"is {text!r}, not a plain path inside the folder"
    return ""


RULES: Final[Mapping[str, Rule]] = {
    "digest": _digest_fault,
    "sha256": _digest_fault,
    "tensor_digest": _digest_fault,
    "source_digest": _digest_fault,
    "corpus_sha256": _digest_fault,
    "path": _path_fault,
    "artifact": _path_fault,
}
