"""Eight float32 lanes as a value inside kernels, where the compiler alone leaves the vector units half idle.

Each function below becomes one or a few vector instructions of whatever machine runs it. All of them take flat
C-contiguous float32 arrays and do no bounds checks. Outside a kernel they cannot be called.
"""

import os
from collections.abc import Callable
from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, register_model

LANES = 8

FEATURES = (os.environ.get("NUMBA_CPU_FEATURES") or llvmlite.binding.get_host_cpu_features().flatten()).split(",")
"""What the processor that kernels are compiled for can do: "+avx2" and the like."""

LEAST = np.float32(1e-45)
"""The smallest number above 0."""

SCAN = 32
"""Sums that are looked at in the time of one addition; where more of them are added to, looking at all is faster."""

_FLOAT = ir.FloatType()
_VECTOR = ir.VectorType(_FLOAT, LANES)
_INT = ir.IntType(32)


def instruction(function: Callable[..., Any]) -> Any:
    """Make a code generator callable from kernels; its parameters after the first are those of the instruction."""
    return intrinsic(prefer_literal=True)(function)


class _Lanes(types.Type):
    """The numba type of eight float32 lanes."""

    def __init__(self) -> None:
        super().__init__(name="float32x8")


lanes: Any = _Lanes()


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, _VECTOR)  # type: ignore[no-untyped-call]


def place_of(context: Any, builder: Any, array_type: Any, array: Any, offset: Any, pointee: Any) -> Any:
    """A pointer to array[offset], as one to another type."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [offset]), ir.PointerType(pointee))


def _shuffle(builder: Any, a: Any, b: Any, order: list[int]) -> Any:
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_INT, len(order)), order))


@instruction
def load(_typing: Any, _array: Any, _offset: Any) -> Any:
    """array[offset : offset + 8] as lanes."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = place_of(context, builder, signature.args[0], args[0], args[1], _VECTOR)
        return builder.load(place, align=4)

    return lanes(_array, types.intp), generate


@instruction
def store(_typing: Any, _array: Any, _offset: Any, _value: Any) -> Any:
    """array[offset : offset + 8] = value."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = place_of(context, builder, signature.args[0], args[0], args[1], _VECTOR)
        builder.store(args[2], place, align=4)
        return context.get_dummy_value()

    return types.void(_array, types.intp, lanes), generate


@instruction
def spread(_typing: Any, _array: Any, _offset: Any) -> Any:
    """array[offset] in all lanes."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = builder.load(place_of(context, builder, signature.args[0], args[0], args[1], _FLOAT))
        return same_in_all(builder, value)

    return lanes(_array, types.intp), generate


def same_in_all(builder: Any, value: Any, width: int = LANES) -> Any:
    """One number in all lanes of a vector."""
    kind = ir.VectorType(value.type, width)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(_INT, 0))
    return _shuffle(builder, one, one, [0] * width)


@instruction
def fill(_typing: Any, _value: Any) -> Any:
    """One float32 in all lanes."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return same_in_all(builder, args[0])

    return lanes(types.float32), generate


def fused(builder: Any, kind: Any, args: Any) -> Any:
    """a · b + c of three values of a kind, rounded once."""
    suffix = f"v{kind.count}f32" if isinstance(kind, ir.VectorType) else "f32"
    function = builder.module.declare_intrinsic(f"llvm.fma.{suffix}", (), ir.FunctionType(kind, [kind] * 3))
    return builder.call(function, args)


@instruction
def fma(_typing: Any, _a: Any, _b: Any, _c: Any) -> Any:
    """a · b + c in each lane, rounded once."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return fused(builder, _VECTOR, args)

    return lanes(lanes, lanes, lanes), generate


@instruction
def fma1(_typing: Any, _a: Any, _b: Any, _c: Any) -> Any:
    """a · b + c of three float32 numbers, rounded once."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return fused(builder, _FLOAT, args)

    return types.float32(types.float32, types.float32, types.float32), generate


@instruction
def any_at_least(_typing: Any, _a: Any, _b: Any) -> Any:
    """A bit for each lane, lowest first: whether a ≥ b."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        bits = builder.bitcast(builder.fcmp_ordered(">=", args[0], args[1]), ir.IntType(LANES))
        return builder.zext(bits, ir.IntType(64))

    return types.int64(lanes, lanes), generate


@instruction
def sums(_typing: Any, _v0: Any, _v1: Any, _v2: Any, _v3: Any, _v4: Any, _v5: Any, _v6: Any, _v7: Any) -> Any:
    """Lane j of the result is the sum over the lanes of vector j."""

    def fold(builder: Any, a: Any, b: Any) -> Any:
        even = _shuffle(builder, a, b, [0, 8, 2, 10, 4, 12, 6, 14])
        odd = _shuffle(builder, a, b, [1, 9, 3, 11, 5, 13, 7, 15])
        return builder.fadd(even, odd)

    def fold2(builder: Any, a: Any, b: Any) -> Any:
        low = _shuffle(builder, a, b, [0, 1, 8, 9, 4, 5, 12, 13])
        high = _shuffle(builder, a, b, [2, 3, 10, 11, 6, 7, 14, 15])
        return builder.fadd(low, high)

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        pairs = [fold(builder, args[i], args[i + 1]) for i in range(0, LANES, 2)]
        low, high = fold2(builder, pairs[0], pairs[1]), fold2(builder, pairs[2], pairs[3])
        left = _shuffle(builder, low, high, [0, 1, 2, 3, 8, 9, 10, 11])
        right = _shuffle(builder, low, high, [4, 5, 6, 7, 12, 13, 14, 15])
        return builder.fadd(left, right)

    return lanes(*[lanes] * LANES), generate


@instruction
def total(_typing: Any, _a: Any) -> Any:
    """The sum over the lanes: ((0+4)+(2+6)) + ((1+5)+(3+7))."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        value = args[0]
        for order in ([4, 5, 6, 7, 0, 1, 2, 3], [2, 3, 0, 1, 6, 7, 4, 5], [1, 0, 3, 2, 5, 4, 7, 6]):
            value = builder.fadd(value, _shuffle(builder, value, value, order))
        return builder.extract_element(value, ir.Constant(_INT, 0))

    return types.float32(lanes), generate


@instruction
def take_next(_typing: Any, _counter: Any) -> Any:
    """counter[0] before adding one to it, safe between threads: which task to do next."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.atomic_rmw("add", data, ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(_counter), generate


@instruction
def prefetch(_typing: Any, _array: Any, _offset: Any) -> Any:
    """Ask for the cache line of array[offset], which will be read soon."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        ask_for(context, builder, signature.args[0], args[0], args[1])
        return context.get_dummy_value()

    return types.void(_array, types.intp), generate


def ask_for(context: Any, builder: Any, array_type: Any, array: Any, offset: Any) -> None:
    """Build what `prefetch` is."""
    place = place_of(context, builder, array_type, array, offset, ir.IntType(8))
    kind = ir.FunctionType(ir.VoidType(), [place.type, _INT, _INT, _INT])
    ask = builder.module.declare_intrinsic("llvm.prefetch", (place.type,), kind)
    builder.call(ask, [place, *(ir.Constant(_INT, code) for code in (0, 3, 1))])


@instruction
def lowest_bit(_typing: Any, _bits: Any) -> Any:
    """The place of the lowest bit that is set; 64 if none is."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.int64), generate
