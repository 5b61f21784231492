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

import operator
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typeconv import Conversion
from numba.core.typing import signature
from numba.core.typing.templates import ConcreteTemplate, infer_global
from numba.extending import lower_builtin, lower_cast, models, register_model
from numpy.typing import NDArray

from edgepack.quant.kernels.compiler import BYTE_ROW, FLOAT_ROW, READ_BYTE_ROW, READ_FLOAT_ROW

LANES = 16

Function = TypeVar("Function", bound=Callable[..., object])


class Lanes(Protocol):
    """What mypy knows of sixteen float32."""

    def __add__(self, other: Lanes | np.float32) -> Lanes: ...
    def __sub__(self, other: Lanes | np.float32) -> Lanes: ...
    def __mul__(self, other: Lanes | np.float32) -> Lanes: ...
    def __truediv__(self, other: Lanes | np.float32) -> Lanes: ...
    def __radd__(self, other: np.float32) -> Lanes: ...
    def __rsub__(self, other: np.float32) -> Lanes: ...
    def __rmul__(self, other: np.float32) -> Lanes: ...
    def __rtruediv__(self, other: np.float32) -> Lanes: ...
    def __neg__(self) -> Lanes: ...
    def __lt__(self, other: Lanes | np.float32) -> Mask: ...
    def __gt__(self, other: Lanes | np.float32) -> Mask: ...
    def __ge__(self, other: Lanes | np.float32) -> Mask: ...


class Mask(Protocol):
    """What mypy knows of sixteen truth values."""

    def __and__(self, other: Mask) -> Mask: ...
    def __or__(self, other: Mask) -> Mask: ...
    def __invert__(self) -> Mask: ...


class _LanesType(types.Type):  # type: ignore[misc]
    def can_convert_from(self, typingctx: object, other: object) -> Any:
        return Conversion.safe if other == types.float32 else None


class _MaskType(types.Type):  # type: ignore[misc]
    pass


_LANES, _MASK = _LanesType("Lanes"), _MaskType("Mask")
_FLOATS = ir.VectorType(ir.FloatType(), LANES)
_WORDS = ir.VectorType(ir.IntType(32), LANES)
_BYTES = ir.VectorType(ir.IntType(8), LANES)
_BITS = ir.VectorType(ir.IntType(1), LANES)
_SET = ir.IntType(LANES)  # a mask as one number


def _stored_as(numba_type: type, llvm_type: ir.Type) -> None:
    class Model(models.PrimitiveModel):  # type: ignore[misc]
        def __init__(self, manager: object, kind: object) -> None:
            super().__init__(manager, kind, llvm_type)

    register_model(numba_type)(Model)


_stored_as(_LanesType, _FLOATS)
_stored_as(_MaskType, _BITS)


def _everywhere(builder: Any, number: Any) -> Any:
    """A scalar in every lane."""
    undefined = ir.Constant(ir.VectorType(number.type, LANES), ir.Undefined)
    first = builder.insert_element(undefined, number, ir.IntType(32)(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(_WORDS, None))


def _words(number: int) -> Any:
    return ir.Constant(_WORDS, [number] * LANES)


@lower_cast(types.float32, _LANES)  # type: ignore[untyped-decorator]
def _spread(context: Any, builder: Any, source: object, target: object, number: Any) -> Any:
    return _everywhere(builder, number)


def _means(symbol: object, result: object, *arguments: object, build: Callable[..., Any]) -> None:
    """numba shall put the instructions of `build(builder, *values)` where it finds `symbol`."""

    class Template(ConcreteTemplate):  # type: ignore[misc]
        key = symbol
        cases = (signature(result, *arguments),)

    infer_global(symbol, types.Function(Template))

    @lower_builtin(symbol, *arguments)  # type: ignore[untyped-decorator]
    def lower(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pairs = zip(signature.args, values, strict=True)
        return build(builder, *(_plain(context, builder, *pair) for pair in pairs))


def _plain(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """An array's data pointer; any other value as it is."""
    if isinstance(kind, types.Array):
        return context.make_array(kind)(context, builder, value).data
    return value


def _builds(
    result: object, *arguments: object, build: Callable[..., Any]
) -> Callable[[Function], Function]:
    """`_means` for a function that only kernels call."""

    def register(function: Function) -> Function:
        _means(function, result, *arguments, build=build)
        return function

    return register


_BINARY = (
    ("add", ir.IRBuilder.fadd),
    ("sub", ir.IRBuilder.fsub),
    ("mul", ir.IRBuilder.fmul),
    ("truediv", ir.IRBuilder.fdiv),
)
for _name, _build in _BINARY:
    for _symbol in (getattr(operator, _name), getattr(operator, f"i{_name}")):
        _means(_symbol, _LANES, _LANES, _LANES, build=_build)
_means(operator.neg, _LANES, _LANES, build=ir.IRBuilder.fneg)
for _symbol, _sign in ((operator.lt, "<"), (operator.gt, ">"), (operator.ge, ">=")):
    _means(
        _symbol, _MASK, _LANES, _LANES,
        build=lambda builder, a, b, sign=_sign: builder.fcmp_ordered(sign, a, b),
    )  # fmt: skip
_means(operator.and_, _MASK, _MASK, _MASK, build=ir.IRBuilder.and_)
_means(operator.or_, _MASK, _MASK, _MASK, build=ir.IRBuilder.or_)
_means(operator.invert, _MASK, _MASK, build=ir.IRBuilder.not_)


def _called(name: str) -> Callable[..., Any]:
    """LLVM's own function of that name over sixteen floats."""

    def build(builder: Any, x: Any) -> Any:
        kind = ir.FunctionType(_FLOATS, [_FLOATS])
        name_of_it = f"llvm.{name}.v{LANES}f32"
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name_of_it), [x])

    return build


def _nearest(builder: Any, x: Any) -> Any:
    shifted = builder.fadd(x, ir.Constant(_FLOATS, [float(3 << 22)] * LANES))
    mantissa = builder.and_(builder.bitcast(shifted, _WORDS), _words(0x7FFFFF))
    return builder.sitofp(builder.sub(mantissa, _words(0x400000)), _FLOATS)


def _pointer(builder: Any, data: Any, index: Any, vector: Any) -> Any:
    at = builder.mul(index, ir.Constant(index.type, LANES))
    return builder.bitcast(builder.gep(data, [at]), vector.as_pointer())


def _load(builder: Any, data: Any, index: Any, vector: Any) -> Any:
    loaded = builder.load(_pointer(builder, data, index, vector))
    loaded.align = 1 if vector is _BYTES else 4  # an array's, not a vector's
    return loaded


def _store(builder: Any, data: Any, index: Any, value: Any) -> Any:
    stored = builder.store(value, _pointer(builder, data, index, value.type))
    stored.align = 1 if value.type is _BYTES else 4
    return ir.Constant(ir.IntType(8).as_pointer(), None)


def _put_bytes(builder: Any, data: Any, index: Any, value: Any) -> Any:
    return _store(builder, data, index, builder.trunc(builder.fptosi(value, _WORDS), _BYTES))


def _any(builder: Any, mask: Any) -> Any:
    return builder.icmp_unsigned("!=", builder.bitcast(mask, _SET), _SET(0))


@_builds(_LANES, types.float32, build=_everywhere)
def splat(number: np.float32) -> Lanes:
    """The number in every lane."""
    raise NotImplementedError


@_builds(
    _LANES, READ_FLOAT_ROW, types.intp,
    build=lambda builder, data, k: _load(builder, data, k, _FLOATS),
)  # fmt: skip
def get(array: NDArray[np.float32], k: int) -> Lanes:
    """Vector k of a flat array."""
    raise NotImplementedError


@_builds(types.void, FLOAT_ROW, types.intp, _LANES, build=_store)
def put(array: NDArray[np.float32], k: int, value: Lanes) -> None:
    """Store vector k of a flat array."""
    raise NotImplementedError


@_builds(
    _LANES, READ_BYTE_ROW, types.intp,
    build=lambda builder, data, k: builder.uitofp(_load(builder, data, k, _BYTES), _FLOATS),
)  # fmt: skip
def get_bytes(array: NDArray[np.uint8], k: int) -> Lanes:
    """Vector k of a flat array, 0 to 255."""
    raise NotImplementedError


@_builds(types.void, BYTE_ROW, types.intp, _LANES, build=_put_bytes)
def put_bytes(array: NDArray[np.uint8], k: int, value: Lanes) -> None:
    """Store integers of any sign, modulo 256, as vector k of a flat array."""
    raise NotImplementedError


@_builds(_LANES, _MASK, _LANES, _LANES, build=ir.IRBuilder.select)
def select(mask: Mask, yes: Lanes | np.float32, no: Lanes | np.float32) -> Lanes:
    """In every lane one of two numbers."""
    raise NotImplementedError


@_builds(
    _MASK, _LANES, _LANES,
    build=lambda builder, a, b: builder.fcmp_ordered("==", a, b),
)  # fmt: skip
def equal(a: Lanes, b: Lanes | np.float32) -> Mask:
    """Where two numbers are equal."""
    raise NotImplementedError


@_builds(types.boolean, _MASK, build=_any)
def any_lane(mask: Mask) -> bool:
    """Whether it holds in any lane."""
    raise NotImplementedError


@_builds(_LANES, _LANES, build=_called("fabs"))
def magnitude(x: Lanes) -> Lanes:
    """|x|."""
    raise NotImplementedError


@_builds(_LANES, _LANES, build=_called("sqrt"))
def square_root(x: Lanes) -> Lanes:
    """The square root, correctly rounded."""
    raise NotImplementedError


@_builds(_LANES, _LANES, build=_called("floor"))
def floor(x: Lanes) -> Lanes:
    """The greatest integer not above x."""
    raise NotImplementedError


@_builds(_LANES, _LANES, build=_nearest)
def nearest(x: Lanes) -> Lanes:
    """As scalars.nearest: ties to even, and beyond 2^22 whatever the reference makes of it."""
    raise NotImplementedError
