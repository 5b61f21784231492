"""`Lanes`: sixteen float32 side by side, in the searches one for each of sixteen blocks.

ggml's searches add one number after another, and the order decides the last bit. With sixteen
blocks in sixteen lanes every block keeps its order, and the machine's vectors are full all the
same. A search reads as if it had one block before it; numba sees one value of LLVM's type
<16 x float>, which LLVM cuts to what the machine has: one register of AVX-512, two of AVX2, four
of NEON. Nothing depends on what a vectoriser can prove.

A flat array is a row of vectors: `get(array, k)` has the elements 16 k to 16 k + 15. In a tile
(see lane_tiles) vector i has element i of every block. In a block itself a vector is sixteen
neighbouring weights; levels are rounded and packed that way.

Arithmetic and comparisons are operators, and a np.float32 beside Lanes counts in every lane.
Comparisons give a `Mask`, false where a NaN takes part. The functions below have no bodies: each
names the instructions that numba puts in its place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numpy.typing import NDArray

from edgepack.quant.kernels.compiler import BYTE_ROW, FLOAT_ROW, READ_BYTE_ROW, READ_FLOAT_ROW
from edgepack.quant.kernels.lane_type import (
    BYTE_LANES,
    FLOAT_LANES,
    LANES,
    LANES_TYPE,
    MASK_TYPE,
    WORD_LANES,
    Lanes,
    Mask,
    builds,
    everywhere,
    words,
)

__all__ = [
    "LANES",
    "Lanes",
    "Mask",
    "equal",
    "floor",
    "get",
    "get_bytes",
    "greatest",
    "lanes_set",
    "least",
    "magnitude",
    "nearest",
    "put",
    "put_bytes",
    "rounded_to_brain",
    "rounded_to_even",
    "select",
    "splat",
    "square_root",
]


def _called(name: str) -> Callable[..., Any]:
    """LLVM's own function of that name over sixteen floats."""

    def build(builder: Any, x: Any) -> Any:
        kind = ir.FunctionType(FLOAT_LANES, [FLOAT_LANES])
        name_of_it = f"llvm.{name}.v{LANES}f32"
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name_of_it), [x])

    return build


def _nearest(builder: Any, x: Any) -> Any:
    shifted = builder.fadd(x, ir.Constant(FLOAT_LANES, [float(3 << 22)] * LANES))
    mantissa = builder.and_(builder.bitcast(shifted, WORD_LANES), words(0x7FFFFF))
    return builder.sitofp(builder.sub(mantissa, words(0x400000)), FLOAT_LANES)


def _brain(builder: Any, x: Any) -> Any:
    bits = builder.bitcast(x, WORD_LANES)
    odd = builder.and_(builder.lshr(bits, words(16)), words(1))
    rounded = builder.add(builder.add(bits, words(0x7FFF)), odd)
    return builder.bitcast(builder.and_(rounded, words(0xFFFF0000)), FLOAT_LANES)


def _pointer(builder: Any, data: Any, index: Any, vector: Any) -> Any:
    at = builder.mul(index, ir.Constant(index.type, LANES))
    return builder.bitcast(builder.gep(data, [at]), vector.as_pointer())


def _load(builder: Any, data: Any, index: Any, vector: Any) -> Any:
    loaded = builder.load(_pointer(builder, data, index, vector))
    loaded.align = 1 if vector is BYTE_LANES else 4  # an array's, not a vector's
    return loaded


def _store(builder: Any, data: Any, index: Any, value: Any) -> Any:
    stored = builder.store(value, _pointer(builder, data, index, value.type))
    stored.align = 1 if value.type is BYTE_LANES else 4
    return ir.Constant(ir.IntType(8).as_pointer(), None)


def _put_bytes(builder: Any, data: Any, index: Any, value: Any) -> Any:
    return _store(
        builder, data, index, builder.trunc(builder.fptosi(value, WORD_LANES), BYTE_LANES)
    )


def _set(builder: Any, mask: Any) -> Any:
    return builder.zext(builder.bitcast(mask, ir.IntType(LANES)), ir.IntType(32))


def _folded(sign: str) -> Callable[..., Any]:
    """Of two halves the lanes for which the comparison holds, until one lane is left."""

    def build(builder: Any, x: Any) -> Any:
        width = LANES
        while width > 1:
            width //= 2
            half = ir.VectorType(ir.IntType(32), width)
            low, high = (
                builder.shuffle_vector(x, x, ir.Constant(half, list(range(start, start + width))))
                for start in (0, width)
            )
            x = builder.select(builder.fcmp_ordered(sign, low, high), low, high)
        return builder.extract_element(x, ir.IntType(32)(0))

    return build


@builds(LANES_TYPE, types.float32, build=everywhere)
def splat(number: np.float32) -> Lanes:
    """The number in every lane."""
    raise NotImplementedError


@builds(
    LANES_TYPE, READ_FLOAT_ROW, types.intp,
    build=lambda builder, data, k: _load(builder, data, k, FLOAT_LANES),
)  # fmt: skip
def get(array: NDArray[np.float32], k: int) -> Lanes:
    """Vector k of a flat array."""
    raise NotImplementedError


@builds(types.void, FLOAT_ROW, types.intp, LANES_TYPE, build=_store)
def put(array: NDArray[np.float32], k: int, value: Lanes) -> None:
    """Store vector k of a flat array."""
    raise NotImplementedError


@builds(
    LANES_TYPE, READ_BYTE_ROW, types.intp,
    build=lambda builder, data, k: builder.uitofp(_load(builder, data, k, BYTE_LANES), FLOAT_LANES),
)  # fmt: skip
def get_bytes(array: NDArray[np.uint8], k: int) -> Lanes:
    """Vector k of a flat array, 0 to 255."""
    raise NotImplementedError


@builds(types.void, BYTE_ROW, types.intp, LANES_TYPE, build=_put_bytes)
def put_bytes(array: NDArray[np.uint8], k: int, value: Lanes) -> None:
    """Store integers of any sign, modulo 256, as vector k of a flat array."""
    raise NotImplementedError


@builds(LANES_TYPE, MASK_TYPE, LANES_TYPE, LANES_TYPE, build=ir.IRBuilder.select)
def select(mask: Mask, yes: Lanes | np.float32, no: Lanes | np.float32) -> Lanes:
    """In every lane one of two numbers."""
    raise NotImplementedError


@builds(
    MASK_TYPE, LANES_TYPE, LANES_TYPE,
    build=lambda builder, a, b: builder.fcmp_ordered("==", a, b),
)  # fmt: skip
def equal(a: Lanes, b: Lanes | np.float32) -> Mask:
    """Where two numbers are equal."""
    raise NotImplementedError


@builds(types.uint32, MASK_TYPE, build=_set)
def lanes_set(mask: Mask) -> np.uint32:
    """A bit for every lane, the first one lowest."""
    raise NotImplementedError


@builds(types.float32, LANES_TYPE, build=_folded("<"))
def least(x: Lanes) -> np.float32:
    """The least of sixteen numbers; of zeros, either."""
    raise NotImplementedError


@builds(types.float32, LANES_TYPE, build=_folded(">"))
def greatest(x: Lanes) -> np.float32:
    """The greatest of sixteen numbers; of zeros, either."""
    raise NotImplementedError


@builds(LANES_TYPE, LANES_TYPE, build=_called("fabs"))
def magnitude(x: Lanes) -> Lanes:
    """|x|."""
    raise NotImplementedError


@builds(LANES_TYPE, LANES_TYPE, build=_called("sqrt"))
def square_root(x: Lanes) -> Lanes:
    """The square root, correctly rounded."""
    raise NotImplementedError


@builds(LANES_TYPE, LANES_TYPE, build=_called("floor"))
def floor(x: Lanes) -> Lanes:
    """The greatest integer not above x."""
    raise NotImplementedError


@builds(LANES_TYPE, LANES_TYPE, build=_brain)
def rounded_to_brain(x: Lanes) -> Lanes:
    """x as bfloat16 holds it: ties to even, subnormals kept; of a NaN, anything."""
    raise NotImplementedError


@builds(LANES_TYPE, LANES_TYPE, build=_called("rint"))
def rounded_to_even(x: Lanes) -> Lanes:
    """x to the nearest integer, ties to even, whatever its magnitude."""
    raise NotImplementedError


@builds(LANES_TYPE, LANES_TYPE, build=_nearest)
def nearest(x: Lanes) -> Lanes:
    """As scalars.nearest: ties to even, and beyond 2^22 whatever the reference makes of it."""
    raise NotImplementedError
