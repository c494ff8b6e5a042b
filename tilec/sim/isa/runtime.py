"""The device run time: printf, assertions. Operands are the `.param` variables of the call, as symbols in the thread's own memory."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from tilec.sim.table import instruction

Meaning = Callable[..., Any]


def _read(M: Any, at: int, mask: Any, symbol: Any, kind: str) -> Any:
    address = np.array([[symbol.variable.offset + symbol.offset]], np.int64)
    return np.broadcast_to(M.memory.load(at, mask, "local", address, np.dtype(kind), 0), M.shape)


@instruction("call_vprintf", "imm imm imm", machine=True)
def vprintf() -> Meaning:
    def run(M: Any, at: int, mask: Any, form: Any, arguments: Any, result: Any = None) -> None:
        forms, buffers = _read(M, at, mask, form, "u8"), _read(M, at, mask, arguments, "u8")
        for b, t in np.argwhere(M.active(mask) & M.live):
            start = int(buffers[b, t])

            def read(offset: int, size: int, place: tuple[int, int, int] = (start, int(b), int(t))) -> bytes:
                return M.memory.peek(place[0] + offset, size, *place[1:])

            M.print(format_text(M.memory.text(int(forms[b, t])), read, M.memory.text))
        if result is not None:
            M.memory.store(
                at, mask, "local", np.array([[result.variable.offset]], np.int64), np.zeros((1, 1), np.uint32), np.dtype("u4"), 0
            )

    return run


_CONVERSION = re.compile(r"%([-+ #0]*\d*(?:\.\d+)?)(hh|h|ll|l|z|j|t)?([diouxXeEfFgGaAcsp%])")


def format_text(form: str, read: Callable[[int, int], bytes], text: Callable[[int], str]) -> str:
    """printf's text; `read(offset, size)` reads the packed arguments, `text(address)` a C string."""
    offset = 0

    def one(match: re.Match[str]) -> str:
        nonlocal offset
        flags, length, kind = match.groups()
        if kind == "%":
            return "%"
        size = 8 if kind in "eEfFgGaAsp" or length in ("l", "ll", "z", "j", "t") else 4
        offset = -(-offset // size) * size
        raw = read(offset, size)
        offset += size
        if kind in "eEfFgGaA":
            value = float(np.frombuffer(raw, "f8")[0])
            return value.hex() if kind in "aA" else f"%{flags}{kind}" % value
        number = int.from_bytes(raw, "little", signed=kind in "di")
        if kind == "s":
            return f"%{flags}s" % text(number)
        if kind == "p":
            return hex(number)
        if kind == "c":
            return chr(number & 255)
        return f"%{flags}{'d' if kind == 'u' else kind}" % number

    return _CONVERSION.sub(one, form)


@instruction("call___assertfail", "imm imm imm imm imm", machine=True)
def assertfail() -> Meaning:
    def run(M: Any, at: int, mask: Any, message: Any, file: Any, line: Any, function: Any, size: Any = None) -> None:
        active = M.active(mask) & M.live
        if not active.any():
            return
        b, t = np.argwhere(active)[0]
        text, name = (M.memory.text(int(_read(M, at, mask, x, "u8")[b, t])) for x in (message, file))
        number = int(_read(M, at, mask, line, "u4")[b, t])
        M.trap(at, mask, f"assertion failed: {text}, {name}:{number}, block {int(M.blocks[b])}, thread {t}")

    return run
