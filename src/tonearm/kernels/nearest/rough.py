"""Which products of unit vectors can reach a limit, told from vectors rounded to bytes.

With x ≈ s q for bytes q and a scale s of its own, |x·y − s_x s_y q_x·q_y| ≤ |x| |y − s_y q_y| + |x − s_x q_x| |s_y q_y|
(Cauchy and Schwarz). Sums of bytes are exact, so no pair is lost where that much, and the rounding of the float32
product, is taken off the limit. A processor with AVX-512 VNNI multiplies bytes at four times the rate of float32; on
others there is nothing to gain, and every pair is taken to reach.
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import models, register_model

from tonearm.kernels.machine.jit import jit, jit_parallel, prange
from tonearm.kernels.machine.simd import FEATURES, fused, instruction, place_of, same_in_all
from tonearm.kernels.machine.tile import TALL, WIDE
from tonearm.types import AnyArray, Bools, Float32s, Int32s

BYTES = "+avx512vnni" in FEATURES and "+avx512f" in FEATURES
"""Whether bytes are multiplied faster than float32."""

_FLOATS, _INTS = ir.VectorType(ir.FloatType(), WIDE), ir.VectorType(ir.IntType(32), WIDE)


class Rough(NamedTuple):
    """Vectors as bytes, by place.

    steps: features divided by four, rounded up; 0 where bytes would not be faster, and all else is then of no place
    rows: int32, four q each; features 4 f to 4 f + 3 of place TALL · g + j are at (g · steps + f) · TALL + j
    columns: (n · steps,) int32, four q + 128 each; those of place 16 p + j are at (p · steps + f) · 16 + j
    start: (n + TALL,) int32, −128 Σ q; scale: (n + TALL,) float32, s
    margin: (n,) float32, what is taken off a place's limit
    needed: (n + TALL,) float32, (limit − margin) / scale; infinite past the last place
    """

    steps: int
    rows: Int32s
    columns: Int32s
    start: Int32s
    scale: Float32s
    margin: Float32s
    needed: Float32s


def round_to_bytes(vectors: Float32s, taken: Bools) -> Rough:
    """Unit or zero vectors (n, d) float32 as bytes, n a multiple of sixteen; those not taken are needed by nobody."""
    n, d = vectors.shape
    steps = -(-d // 4) if BYTES else 0
    if steps == 0:
        n = 0
    scale, error = np.ones(n + TALL, np.float32), np.zeros(n)
    rows, columns = np.zeros((n + TALL) * 4 * steps, np.int8), np.full(n * 4 * steps, 128, np.uint8)
    start = np.zeros(n + TALL, np.int32)
    _fill(vectors[:n], steps, rows, columns, start, scale, error)
    length = 1 + 2.0**-20  # of a unit vector, with room for its own rounding
    most, epsilon = float(error.max(initial=0.0)), 2.0**-24
    # the last part is for the float32 product and for the four roundings of the comparison
    margin = length * most + error * (length + most) + (d + 16) * epsilon * (length + most) ** 2
    needed = np.full(n + TALL, np.inf, np.float32)
    needed[:n][taken[:n]] = -np.inf
    return Rough(steps, rows.view(np.int32), columns.view(np.int32), start, scale, margin.astype(np.float32), needed)


@jit_parallel
def _fill(
    vectors: Float32s,
    steps: int,
    rows: AnyArray,
    columns: AnyArray,
    start: Int32s,
    scale: Float32s,
    error: AnyArray,
) -> None:
    n, d = vectors.shape
    for place in prange(n):
        greatest = np.float32(0)
        for f in range(d):
            greatest = max(greatest, abs(vectors[place, f]))
        s = np.float32(greatest / np.float32(127)) if greatest > 0 else np.float32(1)
        total, squares = 0, 0.0
        for f in range(d):
            x = np.float64(vectors[place, f])
            q = max(-127, min(127, int(np.rint(x / np.float64(s)))))
            total += q
            squares += (x - np.float64(s) * q) ** 2
            rows[((place // TALL * steps + f // 4) * TALL + place % TALL) * 4 + f % 4] = q
            columns[((place // WIDE * steps + f // 4) * WIDE + place % WIDE) * 4 + f % 4] = q + 128
        start[place], scale[place], error[place] = -128 * total, s, np.sqrt(squares)


@jit
def need(rough: Rough, place: int, limit: float) -> None:
    """Set a place's limit."""
    if rough.steps > 0:
        rough.needed[place] = (limit - rough.margin[place]) / rough.scale[place]


@jit
def may_matter(rough: Rough, group: int, panel: int) -> bool:
    """Whether any pair of a place of a group and one of a panel may reach the limit of either."""
    if rough.steps == 0:
        return True
    sums = _start(rough.start, group * TALL)
    for f in range(rough.steps):
        sums = _add_bytes(
            sums, rough.rows, (group * rough.steps + f) * TALL, rough.columns, (panel * rough.steps + f) * WIDE
        )
    return _any_needed(sums, rough.scale, rough.needed, group * TALL, panel * WIDE)  # type: ignore[no-any-return]


class _IntSums(types.Type):
    """The numba type of a tile of int32 sums."""

    def __init__(self) -> None:
        super().__init__(name=f"int32x{TALL}x{WIDE}")


@register_model(_IntSums)
class _IntSumsModel(models.PrimitiveModel):
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, ir.ArrayType(_INTS, TALL))  # type: ignore[no-untyped-call]


_tile: Any = _IntSums()


def _one(context: Any, builder: Any, array_type: Any, array: Any, at: Any, j: int) -> Any:
    """array[at + j] in all sixteen lanes."""
    kind = context.get_data_type(array_type.dtype)
    place = place_of(context, builder, array_type, array, builder.add(at, ir.Constant(at.type, j)), kind)
    return same_in_all(builder, builder.load(place), WIDE)


@instruction
def _start(_typing: Any, _array: Any, _offset: Any) -> Any:
    """array[offset + j] in all of row j."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        sums = ir.Constant(ir.ArrayType(_INTS, TALL), ir.Undefined)
        for j in range(TALL):
            sums = builder.insert_value(sums, _one(context, builder, signature.args[0], args[0], args[1], j), j)
        return sums

    return _tile(_array, types.intp), generate


@instruction
def _add_bytes(_typing: Any, _sums: Any, _rows: Any, _at: Any, _columns: Any, _columns_at: Any) -> Any:
    """sums[j, c] + Σ_b of the bytes of rows[at + j], signed, and columns[columns_at + c], unsigned, with VNNI."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        sums, rows, at, columns, columns_at = args
        column = builder.load(place_of(context, builder, signature.args[3], columns, columns_at, _INTS), align=4)
        kind = ir.FunctionType(_INTS, [_INTS] * 3)
        multiply = builder.module.declare_intrinsic("llvm.x86.avx512.vpdpbusd.512", (), kind)
        for j in range(TALL):
            row = _one(context, builder, signature.args[1], rows, at, j)
            grown = builder.call(multiply, [builder.extract_value(sums, j), column, row])
            sums = builder.insert_value(sums, grown, j)
        return sums

    signature = _tile(_tile, _rows, types.intp, _columns, types.intp)
    return signature, generate if BYTES else lambda _context, _builder, _signature, args: args[0]


@instruction
def _any_needed(_typing: Any, _sums: Any, _scale: Any, _needed: Any, _row: Any, _column: Any) -> Any:
    """Whether sums[j, c] · scale[column + c] ≥ needed[row + j], or the other way round, for any j and c."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        sums, scale, needed, row, column = args
        scales = builder.load(place_of(context, builder, signature.args[1], scale, column, _FLOATS), align=4)
        needs = builder.load(place_of(context, builder, signature.args[2], needed, column, _FLOATS), align=4)
        over, most = [], []
        for j in range(TALL):
            value = builder.sitofp(builder.extract_value(sums, j), _FLOATS)
            need = _one(context, builder, signature.args[2], needed, row, j)
            over.append(fused(builder, _FLOATS, (value, scales, builder.fneg(need))))
            most.append(builder.fmul(value, _one(context, builder, signature.args[1], scale, row, j)))
        zero = ir.Constant(_FLOATS, [0.0] * WIDE)
        reached = builder.or_(
            builder.fcmp_ordered(">=", _greatest(builder, over), zero),
            builder.fcmp_ordered(">=", _greatest(builder, most), needs),
        )
        bits = builder.bitcast(reached, ir.IntType(WIDE))
        return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

    return types.boolean(_tile, _scale, _needed, types.intp, types.intp), generate


def _greatest(builder: Any, vectors: list[Any]) -> Any:
    best = vectors[0]
    for vector in vectors[1:]:
        best = builder.select(builder.fcmp_ordered(">", vector, best), vector, best)
    return best
