"""How numba knows `Lanes` and `Mask`, and how their operators and functions become instructions."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.typeconv import Conversion
from numba.core.typing import signature
from numba.core.typing.templates import ConcreteTemplate, infer_global
from numba.extending import lower_builtin, lower_cast, models, register_model

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


LANES_TYPE, MASK_TYPE = _LanesType("Lanes"), _MaskType("Mask")
FLOAT_LANES = ir.VectorType(ir.FloatType(), LANES)
WORD_LANES = ir.VectorType(ir.IntType(32), LANES)
BYTE_LANES = ir.VectorType(ir.IntType(8), LANES)
BIT_LANES = ir.VectorType(ir.IntType(1), LANES)


def _stored_as(numba_type: type, llvm_type: ir.Type) -> None:
    class Model(models.PrimitiveModel):  # type: ignore[misc]
        def __init__(self, manager: object, kind: object) -> None:
            super().__init__(manager, kind, llvm_type)

    register_model(numba_type)(Model)


_stored_as(_LanesType, FLOAT_LANES)
_stored_as(_MaskType, BIT_LANES)


def everywhere(builder: Any, number: Any) -> Any:
    """A scalar in every lane."""
    undefined = ir.Constant(ir.VectorType(number.type, LANES), ir.Undefined)
    first = builder.insert_element(undefined, number, ir.IntType(32)(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(WORD_LANES, None))


def words(number: int) -> Any:
    return ir.Constant(WORD_LANES, [number] * LANES)


@lower_cast(types.float32, LANES_TYPE)  # type: ignore[untyped-decorator]
def _spread(context: Any, builder: Any, source: object, target: object, number: Any) -> Any:
    return everywhere(builder, number)


def means(symbol: object, result: object, *arguments: object, build: Callable[..., Any]) -> None:
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


def builds(
    result: object, *arguments: object, build: Callable[..., Any]
) -> Callable[[Function], Function]:
    """`means` for a function that only kernels call."""

    def register(function: Function) -> Function:
        means(function, result, *arguments, build=build)
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
        means(_symbol, LANES_TYPE, LANES_TYPE, LANES_TYPE, build=_build)
means(operator.neg, LANES_TYPE, LANES_TYPE, build=ir.IRBuilder.fneg)
for _symbol, _sign in ((operator.lt, "<"), (operator.gt, ">"), (operator.ge, ">=")):
    means(
        _symbol, MASK_TYPE, LANES_TYPE, LANES_TYPE,
        build=lambda builder, a, b, sign=_sign: builder.fcmp_ordered(sign, a, b),
    )  # fmt: skip
means(operator.and_, MASK_TYPE, MASK_TYPE, MASK_TYPE, build=ir.IRBuilder.and_)
means(operator.or_, MASK_TYPE, MASK_TYPE, MASK_TYPE, build=ir.IRBuilder.or_)
means(operator.invert, MASK_TYPE, MASK_TYPE, build=ir.IRBuilder.not_)
