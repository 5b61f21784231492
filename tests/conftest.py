"""Tiny checkpoints for every room: the builder that also makes fixtures/golden/tiny-*."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

from edgepack import formats

# CI draws the same examples every time; at a desk they stay random, and find new ones. How long
# one takes says more of what else the machine does than of the code.
settings.register_profile("desk", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "desk")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads what a user keeps, or adds to it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEPACK_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def builder() -> ModuleType:
    """fixtures/scripts/tiny_checkpoints.py: `write(folder, family, **changes)` and its parts."""
    name = "tiny_checkpoints"
    if name not in sys.modules:
        path = ROOT / "fixtures" / "scripts" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture(scope="session")
def written():
    """`written(format, checkpoint, scheme, folder)`: one artifact, as the real pass writes it."""

    def write(
        kind,
        checkpoint,
        scheme,
        folder,
        progress=lambda done, total: None,
        options=formats.DEFAULTS,
    ):
        target = formats.Target(kind, scheme, folder, options)
        (artifact,) = formats.write(checkpoint, [target], progress)
        return artifact

    return write


@pytest.fixture(scope="session")
def planned_bytes():
    """`planned_bytes(format, checkpoint, scheme)`, before anything is written."""
    return lambda kind, checkpoint, scheme: sum(
        file.size for file in kind.plan(checkpoint, scheme).files
    )


@pytest.fixture(scope="session")
def golden() -> Path:
    """fixtures/golden/: tiny-FAMILY/ with logits.npz."""
    return ROOT / "fixtures" / "golden"


@pytest.fixture(scope="session")
def reasoner() -> Path:
    """fixtures/reasoner/: the trained model, and eval.jsonl, which it has not seen."""
    return ROOT / "fixtures" / "reasoner"


@pytest.fixture(scope="session")
def llama_quantize() -> Callable[..., None]:
    """llama.cpp's own quantizer, as the program llama-quantize calls it."""
    return _llama_quantize


class _Importance(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("data", ctypes.POINTER(ctypes.c_float)),
        ("size", ctypes.c_size_t),
    )


class _Override(ctypes.Structure):
    _fields_ = (("pattern", ctypes.c_char_p), ("type", ctypes.c_int))


class _Parameters(ctypes.Structure):
    """llama.h, llama_model_quantize_params, as far as it is used."""

    _fields_ = (
        ("nthread", ctypes.c_int32),
        ("ftype", ctypes.c_int),
        ("output_tensor_type", ctypes.c_int),
        ("token_embedding_type", ctypes.c_int),
        ("flags", ctypes.c_bool * 6),
        ("imatrix", ctypes.POINTER(_Importance)),
        ("kv_overrides", ctypes.c_void_p),
        ("tensor_types", ctypes.POINTER(_Override)),
    )


def _llama_quantize(
    source: Path,
    target: Path,
    ftype: int,
    *,
    imatrix: Mapping[str, NDArray[np.float32]] | None = None,
    tensors: Sequence[tuple[str, int]] = (),
    **settings: Any,
) -> None:
    """Quantize `source` into `target`; `tensors` are patterns and numbers of types.

    cyllama's parameters have no setter for the matrix of importance and the types of tensors, so
    these are written into the C struct that the Python object holds.
    """
    llama = pytest.importorskip("cyllama.llama.llama_cpp", reason="cyllama has no wheel here")
    parameters = llama.LlamaModelQuantizeParams()
    struct = _struct(parameters)
    parameters.nthread = 1
    parameters.ftype = ftype
    for name, value in settings.items():
        setattr(parameters, name, value)
    entries = [
        _Importance(name.encode(), data.ctypes.data_as(ctypes.POINTER(ctypes.c_float)), data.size)
        for name, data in (imatrix or {}).items()
    ]
    overrides = [_Override(pattern.encode(), kind) for pattern, kind in tensors]
    importances = (_Importance * (len(entries) + 1))(*entries)  # the last of each is a null
    types = (_Override * (len(overrides) + 1))(*overrides)
    if imatrix is not None:
        struct.imatrix = ctypes.cast(importances, ctypes.POINTER(_Importance))
    if overrides:
        struct.tensor_types = ctypes.cast(types, ctypes.POINTER(_Override))
    llama.model_quantize(str(source), str(target), parameters)


def _struct(parameters: Any) -> _Parameters:
    """The C struct within the object, found by values put there."""
    parameters.nthread, parameters.ftype = 0x1234567, 0x2345678
    size = type(parameters).__basicsize__
    memory = ctypes.string_at(id(parameters), size)
    at = memory.find(b"\x67\x45\x23\x01\x78\x56\x34\x02")
    assert at > 0
    assert at + ctypes.sizeof(_Parameters) <= size
    return _Parameters.from_address(id(parameters) + at)
