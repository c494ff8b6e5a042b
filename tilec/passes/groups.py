"""Layouts of tiles that a group of warps holds: those of a block of as many warps.

The rule joins those of `layouts` when this file is imported.
"""

from __future__ import annotations

from typing import Any

from tilec.ir.ops.warps import InWarps
from tilec.passes.layouts import RULES, AssignLayouts


def in_warps(a: AssignLayouts, op: InWarps) -> Any:
    outer = a.warps, a.threads
    a.warps, a.threads = op.count, 32 * op.count
    try:
        body = a.block(op.body)
    finally:
        a.warps, a.threads = outer
    return a.b.insert(InWarps(op.first, op.count, body))


RULES[InWarps] = in_warps
