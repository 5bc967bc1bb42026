"""Running sums in vector registers: a tile of some rows times sixteen columns, the inner part of every dense product,
and a strip of up to 160 side by side, that of a sparse one.

A processor with AVX-512 has room for twelve rows, others for six. Each sum is added to in the order of the calls,
rounded once a step, so results are the same to the last bit whatever the tile's height.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import models, register_model

from tonearm.kernels.machine.simd import FEATURES, ask_for, fused, instruction, place_of, same_in_all

WIDE = 16
"""Columns of a tile."""

TALL = 12 if "+avx512f" in FEATURES else 6
"""Rows of a tile."""

LONGEST = 160 if TALL == 12 else 64
"""Columns of the longest strip that fits the registers."""

_FLOAT, _INT = ir.FloatType(), ir.IntType(64)
_ROW = ir.VectorType(_FLOAT, WIDE)


class _Sums(types.Type):
    """The numba type of some rows of sixteen sums."""

    def __init__(self, rows: int) -> None:
        super().__init__(name=f"float32x{rows}x{WIDE}")
        self.rows = rows


@register_model(_Sums)
class _SumsModel(models.PrimitiveModel):
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, ir.ArrayType(_ROW, numba_type.rows))  # type: ignore[no-untyped-call]


tile: Any = _Sums(TALL)


def _zeros(context: Any, _builder: Any, signature: Any, _args: Any) -> Any:
    return context.get_constant_null(signature.return_type)


@instruction
def no_sums(_typing: Any) -> Any:
    """A tile of zeros."""
    return tile(), _zeros


@instruction
def no_strip(_typing: Any, _columns: Any) -> Any:
    """A strip of zeros: as many sums side by side as the literal says, a multiple of sixteen."""
    return _Sums(_columns.literal_value // WIDE)(_columns), _zeros


@instruction
def add_scaled(_typing: Any, _strip: Any, _array: Any, _offset: Any, _factor: Any) -> Any:
    """strip + factor · array[offset : offset + its length]."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        sums, array, offset, factor = args
        factor = same_in_all(builder, factor, WIDE)
        for j in range(signature.args[0].rows):
            at = builder.add(offset, ir.Constant(_INT, j * WIDE))
            part = builder.load(place_of(context, builder, signature.args[1], array, at, _ROW), align=4)
            grown = fused(builder, _ROW, (factor, part, builder.extract_value(sums, j)))
            sums = builder.insert_value(sums, grown, j)
        return sums

    return _strip(_strip, _array, types.intp, types.float32), generate


@instruction
def prefetch_strip(_typing: Any, _strip: Any, _array: Any, _offset: Any) -> Any:
    """Ask for array[offset : offset + the strip's length], which will be read soon."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        for j in range(signature.args[0].rows):
            at = builder.add(args[2], ir.Constant(_INT, j * WIDE))
            ask_for(context, builder, signature.args[1], args[1], at)
        return context.get_dummy_value()

    return types.void(_strip, _array, types.intp), generate


@instruction
def add_outer(_typing: Any, _sums: Any, _left: Any, _at: Any, _step: Any, _right: Any, _right_at: Any) -> Any:
    """sums[j, :] + left[at + j · step] · right[right_at : right_at + 16] for each row j."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        sums, left, at, step, right, right_at = args
        row = builder.load(place_of(context, builder, signature.args[4], right, right_at, _ROW), align=4)
        first = place_of(context, builder, signature.args[1], left, at, _FLOAT)
        for j in range(TALL):
            scalar = builder.load(builder.gep(first, [builder.mul(step, ir.Constant(_INT, j))]))
            grown = fused(builder, _ROW, (same_in_all(builder, scalar, WIDE), row, builder.extract_value(sums, j)))
            sums = builder.insert_value(sums, grown, j)
        return sums

    return tile(tile, _left, types.intp, types.intp, _right, types.intp), generate


@instruction
def load_tile(_typing: Any, _array: Any, _offset: Any, _stride: Any) -> Any:
    """Row j is array[offset + j · stride : … + 16]."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        sums = ir.Constant(ir.ArrayType(_ROW, TALL), ir.Undefined)
        for j in range(TALL):
            sums = builder.insert_value(sums, builder.load(_row(context, builder, signature, args, j), align=4), j)
        return sums

    return tile(_array, types.intp, types.intp), generate


@instruction
def store_tile(_typing: Any, _array: Any, _offset: Any, _stride: Any, _sums: Any) -> Any:
    """array[offset + j · stride : … + 16] = row j of a tile, or part j of a strip."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        for j in range(signature.args[3].rows):
            builder.store(builder.extract_value(args[3], j), _row(context, builder, signature, args, j), align=4)
        return context.get_dummy_value()

    return types.void(_array, types.intp, types.intp, _sums), generate


def _row(context: Any, builder: Any, signature: Any, args: Any, j: int) -> Any:
    offset = builder.add(args[1], builder.mul(args[2], ir.Constant(_INT, j)))
    return place_of(context, builder, signature.args[0], args[0], offset, _ROW)


@instruction
def any_reaches(_typing: Any, _sums: Any, _limits: Any, _offset: Any) -> Any:
    """Whether any sum of any row j is ≥ limits[offset + j]."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        first = place_of(context, builder, signature.args[1], args[1], args[2], _FLOAT)
        limits = [builder.load(builder.gep(first, [ir.Constant(_INT, j)])) for j in range(TALL)]
        return _any(builder, args[0], [same_in_all(builder, limit, WIDE) for limit in limits])

    return types.boolean(tile, _limits, types.intp), generate


@instruction
def any_reaches_across(_typing: Any, _sums: Any, _limits: Any, _offset: Any) -> Any:
    """Whether any sum of any column c is ≥ limits[offset + c]."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = place_of(context, builder, signature.args[1], args[1], args[2], _ROW)
        return _any(builder, args[0], [builder.load(place, align=4)] * TALL)

    return types.boolean(tile, _limits, types.intp), generate


def _any(builder: Any, sums: Any, limits: list[Any]) -> Any:
    reached = ir.Constant(ir.VectorType(ir.IntType(1), WIDE), None)
    for j, limit in enumerate(limits):
        reached = builder.or_(reached, builder.fcmp_ordered(">=", builder.extract_value(sums, j), limit))
    bits = builder.bitcast(reached, ir.IntType(WIDE))
    return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))


@instruction
def which_reach(_typing: Any, _array: Any, _offset: Any, _limit: Any) -> Any:
    """A bit for each of array[offset : offset + 16], lowest first: whether it is ≥ limit."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        row = builder.load(place_of(context, builder, signature.args[0], args[0], args[1], _ROW), align=4)
        reached = builder.fcmp_ordered(">=", row, same_in_all(builder, args[2], WIDE))
        return builder.zext(builder.bitcast(reached, ir.IntType(WIDE)), _INT)

    return types.int64(_array, types.intp, types.float32), generate
