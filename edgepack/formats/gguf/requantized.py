"""GGUF and scheme -> what llama-quantize would make of it: tensors, keys and their order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from edgepack.errors import UsageError
from edgepack.formats.gguf import split
from edgepack.formats.gguf.files import files
from edgepack.formats.gguf.imatrix import by_weight
from edgepack.formats.gguf.metadata import (
    FILE_TYPES,
    QUANTIZATION_VERSION,
    Value,
    quantization,
)
from edgepack.formats.gguf.source import GgufModel
from edgepack.formats.protocol import DEFAULTS, Options, Piece
from edgepack.models import Weight
from edgepack.quant.encodings import Encoding
from edgepack.quant.ggml import STORED
from edgepack.quant.schemes import Assignment
from edgepack.quant.schemes.mix import GgufScheme, quantizable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FLOATS: Final = frozenset({"F32", "F16", "BF16"})
FILE_TYPE, VERSION = "general.file_type", "general.quantization_version"


class RequantizedPlan:
    """Source: llama_model_quantize_impl in llama.cpp (src/llama-quant.cpp)."""

    def __init__(self, model: GgufModel, scheme: GgufScheme, options: Options = DEFAULTS) -> None:
        """Raises UsageError for what is quantized already, unless `options` allow it, and otherwise
        as GgufPlan does."""
        self._model = model
        tensors = [_kept(model, assigned) for assigned in scheme.assign(model.decoder)]
        self._encodings = {t.weight: STORED[t.encoding.name] for t in tensors}
        if not options.requantize:
            self._refuse_quantized()
        changed = {w: e for w, e in self._encodings.items() if not self._is_copy(w)}
        self._importance = by_weight(scheme, changed, options.importance)
        values = {**_values(model, scheme), **dict(quantization(scheme, options.importance))}
        name = f"{model.name}-{scheme.name}"
        self.files, self._places = files(name, values, tensors, options.split_bytes)

    def encoding(self, weight: Weight) -> Encoding | None:
        return self._encodings[weight]

    def multiple(self, weight: Weight) -> int:
        return 1

    def encode(self, weight: Weight, start: int, rows: NDArray[np.float32]) -> tuple[Piece, ...]:
        """A tensor whose type stays is copied: encoding anew what was quantized changes it."""
        encoding = self._encodings[weight]
        file, offset = self._places[weight]
        offset += start * encoding.row_bytes(rows.shape[1])
        if self._is_copy(weight):
            return (
                Piece(file, offset, self._model.ref(weight).read_raw(start, start + len(rows))),
            )
        return (Piece(file, offset, encoding.encode(rows, self._importance.get(weight))),)

    def derived(self) -> Iterator[tuple[Weight, int, NDArray[np.float32]]]:
        """Whatever was derived is in the source."""
        return iter(())

    def _is_copy(self, weight: Weight) -> bool:
        return self._model.ref(weight).encoding.name == self._encodings[weight].name

    def _refuse_quantized(self) -> None:
        for weight in self._encodings:
            tensor = self._model.ref(weight)
            found = tensor.encoding.name
            if found not in FLOATS and not self._is_copy(weight):
                raise UsageError(
                    f"{tensor.file}: {tensor.name} is {found} already, and would lose once more",
                    "start from F32, F16 or BF16, or allow it with --allow-requantize",
                )


def _kept(model: GgufModel, assigned: Assignment) -> Assignment:
    """What no scheme touches stays as the source has it."""
    if quantizable(assigned.weight):
        return assigned
    return Assignment(assigned.weight, model.ref(assigned.weight).encoding)


def _values(model: GgufModel, scheme: GgufScheme) -> dict[str, Value]:
    """The source's keys in their order, what changes at their end."""
    replaced = {*split.KEYS, FILE_TYPE, VERSION}
    kept = {key: value for key, value in model.values.items() if key not in replaced}
    return {**kept, VERSION: QUANTIZATION_VERSION, FILE_TYPE: FILE_TYPES[scheme.mix]}
