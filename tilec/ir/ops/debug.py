"""What a person sees of a run: prints, breakpoints, assertions."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilec.errors import Code, require
from tilec.ir.core import Builder, Effect, Op, Value
from tilec.ir.dtypes import DType, f32
from tilec.ir.ops.arith import Cast
from tilec.ir.ops.base import Operand, describe, match, tile


class Print(Op):
    """Python's `print` in a kernel: shows the texts and values, one line for each block. On the GPU it does nothing."""

    effect = Effect.DEBUG
    values: tuple[Value, ...]
    texts: tuple[Any, ...] = ()  # for each argument its text, or None where a value stands

    def infer(self) -> None:
        return None

    def eval(self, ctx: Any, *values: Any) -> None:
        for number, place in ctx.active_blocks():
            shown = iter(v[min(number, len(v) - 1)] for v in values)
            words = [text if text is not None else _plain(next(shown)) for text in self.texts]
            print(f"[block {', '.join(map(str, place))}]", *words)


class Breakpoint(Op):
    """Python's `breakpoint()` in a kernel: opens the debugger with the author's variables as NumPy arrays [blocks, *shape]."""

    effect = Effect.DEBUG
    values: tuple[Value, ...]
    names: tuple[str, ...] = ()

    def infer(self) -> None:
        return None


def _plain(value: Any) -> Any:
    return value.item() if np.ndim(value) == 0 else value


class DevicePrint(Op):
    """Prints a scalar, or each element of a tile in a line of its own, wherever the kernel runs: `[block 0, 1, 0] text [2, 3] 0.5`.

    On the GPU the lines come in any order, by the CUDA run time's vprintf, when the host synchronizes. Floats are shown with six digits.

    Example:
        tc.device_print("i is", i)  # prints "[block 0, 0, 0] i is 3"
        tc.device_print("T", T)     # error: a tile or a number is wanted here, not global f32[R, C]
    """

    effect = Effect.DEBUG
    x: Value
    text: str = ""

    builtin = "device_print"

    def infer(self) -> None:
        require(tile(self.x).dtype.computes, f"{describe(self.x.type)} is not printed", hint="convert it first, as in tc.cast(x, f32)")

    @classmethod
    def build(cls, b: Builder, text: str, x: Operand) -> None:
        """A narrow storage type is shown as f32."""
        value = match(b, x, dtype=f32)[0] if not isinstance(x, Value) else x
        b.insert(cls(value if tile(value).dtype.computes else Cast.build(b, value, f32), text))

    @property
    def form(self) -> str:
        """The line as C's printf takes it: after the block's three coordinates, those of the element and the element."""
        places = ", ".join(["%d"] * len(self.x.type.shape))
        words = ["[block %d, %d, %d]", self.text.replace("%", "%%"), f"[{places}]" if places else "", conversion(self.x.type.dtype)]
        return " ".join(w for w in words if w)

    def eval(self, ctx: Any, x: Any) -> None:
        form = self.form.replace("%ll", "%")
        for number in ctx.active_numbers():
            block = tuple(int(p[number]) for p in ctx.place)
            value = x[min(number, len(x) - 1)]
            for at in np.ndindex(value.shape):
                print(form % (*block, *at, value[at]))


def conversion(dtype: DType) -> str:
    """printf's conversion of a value, floats as double, integers of 64 bits as long long, others as int."""
    if dtype.is_float:
        return "%g"
    return "%" + ("ll" if dtype.bits == 64 else "") + ("d" if dtype.is_signed or dtype.is_bool else "u")


class AssertAt(Op):
    """Stops the kernel with the message unless the condition, a bool or a tile of bools, holds everywhere.

    The interpreter raises an error that names the block; on the GPU the launch fails, and the message goes to standard error with the line
    and the thread. `assert` is decided when the kernel is compiled, `tc.assume` states facts that the compiler may use.

    Example:
        tc.assert_(y > 0, "y is positive")
        r = tc.log(y)       # = np.log(y)
        tc.assert_(n, "n")  # error: an assertion is a bool, not i32[8, 16]
    """

    mnemonic = "assert"
    builtin = "assert_"
    effect = Effect.DEBUG
    condition: Value
    message: str = ""

    def infer(self) -> None:
        given = tile(self.condition)
        require(given.dtype.is_bool, f"an assertion is a bool, not {describe(given)}", hint="compare it, as in x != 0", code=Code.CONDITION)

    def eval(self, ctx: Any, condition: Any) -> None:
        ctx.fail(~condition, f"the assertion fails{': ' + self.message if self.message else ''}", Code.ASSERTION)

    @classmethod
    def build(cls, b: Builder, condition: Value | bool, message: str = "") -> None:
        if isinstance(condition, Value):
            b.insert(cls(condition, message))
        else:
            require(condition, f"the assertion fails{': ' + message if message else ''}", code=Code.STATIC_ASSERTION)

