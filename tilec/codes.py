"""The kinds of errors: a number each, which never changes, and the page that explains it.

Whoever raises an error may name its kind, `require(fact, "...", code=Code.SHAPES)`; else it is of the kind that the module is mostly about, as
`OF_MODULES` says, so that none is without. What each means, an example and the remedy are in codes.md; docs/errors.md is a copy of it.
"""

from __future__ import annotations

import enum
import os
import re
import sys


class Code(enum.IntEnum):
    """A kind of error. Numbers are never used again for another kind; the hundreds are areas."""

    # names and Python
    UNKNOWN = 101
    UNASSIGNED = 102
    LANGUAGE = 103
    NOT_STATIC = 104
    ARGUMENTS = 105
    FOREIGN = 106
    CHANGED = 107
    UNPACKING = 108
    RECURSION = 109
    RETURN = 110
    STATIC_ASSERTION = 111
    PYTHON_FAILS = 112
    IMMUTABLE = 113
    OUTSIDE = 114
    CONDITION = 115
    SOURCE = 116
    BOUNDS = 117
    # the kernel's declaration
    PARAMETER = 201
    EXTENT = 202
    GRID = 203
    HOST = 204
    ASSUMPTION = 205
    WARPS = 206
    STRUCT = 207
    # types
    TYPES_MIX = 301
    STORAGE = 302
    UNDEFINED = 303
    NUMBER = 304
    NOT_A_TILE = 305
    BITS = 306
    PRODUCT_TYPES = 307
    COMBINE = 308
    TYPE_NAME = 309
    # shapes
    SHAPES = 401
    AXIS = 402
    RESHAPE = 403
    INDEX = 404
    COUNT = 405
    PRODUCT_SHAPES = 406
    # memory
    OFFSETS = 501
    STORED = 502
    MASK = 503
    HINT = 504
    ATOMIC = 505
    SHARED_FULL = 506
    BARRIER = 507
    WAIT = 508
    UNINITIALIZED = 509
    OUT_OF_BOUNDS = 510
    DEADLOCK = 511
    ASSERTION = 512
    UNALIGNED = 513
    VIEW = 514
    WORKSPACE = 515
    SHARED_TILE = 516
    DIVISION = 517
    RACE = 518
    SEMAPHORE = 519
    DIVERGENCE = 520
    STOPPED = 521
    NAMED_BARRIER = 522
    PACKED_TILE = 523
    PROMISE = 524
    # layouts
    LAYOUT = 601
    LAYOUT_FITS = 602
    CONVERSION = 603
    # calls of kernels
    CALL = 701
    ARRAY_TYPE = 702
    ARRAY_SHAPE = 703
    ARRAY_MEMORY = 704
    SCALAR = 705
    CONSTANT = 706
    LAUNCH = 707
    NO_GPU = 708
    EXAMPLE = 709
    STAGE = 710
    # compilation
    ARCHITECTURE = 801
    FEATURE = 802
    ASSEMBLER = 803
    LLVM = 804
    CRASH = 805
    NOT_ON_GPU = 806
    TOOLS = 807
    SETTING = 808
    # tools
    TEXT = 901
    FILE = 902
    BUNDLE = 903
    TUNING = 904
    TENSOR = 905
    QUANTIZATION = 906
    PTX = 907
    SIMULATION = 908
    MALFORMED = 909

    def __str__(self) -> str:
        return f"TILE{self:04d}"


# by the beginning of a module's name, the longest that fits: what its errors are if they don't say
OF_MODULES = {
    "tilec": Code.FILE,
    "tilec.arguments": Code.ARRAY_TYPE,
    "tilec.backend": Code.NOT_ON_GPU,
    "tilec.backend.bundle": Code.BUNDLE,
    "tilec.backend.cubin": Code.ASSEMBLER,
    "tilec.backend.driver": Code.NO_GPU,
    "tilec.backend.isa": Code.MALFORMED,
    "tilec.backend.nvptx": Code.LLVM,
    "tilec.backend.sass": Code.TOOLS,
    "tilec.backend.target": Code.ARCHITECTURE,
    "tilec.bundle": Code.BUNDLE,
    "tilec.cache": Code.SETTING,
    "tilec.frontend": Code.LANGUAGE,
    "tilec.frontend.builtins": Code.OUTSIDE,
    "tilec.frontend.signature": Code.PARAMETER,
    "tilec.frontend.source": Code.SOURCE,
    "tilec.ir": Code.MALFORMED,
    "tilec.ir.arrays": Code.ARRAY_MEMORY,
    "tilec.ir.draw": Code.LAYOUT,
    "tilec.ir.dtypes": Code.TYPE_NAME,
    "tilec.ir.hosttext": Code.LAUNCH,
    "tilec.ir.interp": Code.OUT_OF_BOUNDS,
    "tilec.ir.memories": Code.OUT_OF_BOUNDS,
    "tilec.ir.layout": Code.LAYOUT,
    "tilec.ir.ops": Code.UNDEFINED,
    "tilec.ir.ops.access": Code.OFFSETS,
    "tilec.ir.ops.asynchronous": Code.SHARED_TILE,
    "tilec.ir.ops.atomics": Code.ATOMIC,
    "tilec.ir.ops.base": Code.SHAPES,
    "tilec.ir.ops.gather": Code.OFFSETS,
    "tilec.ir.ops.matmul": Code.PRODUCT_TYPES,
    "tilec.ir.ops.memory": Code.SHARED_TILE,
    "tilec.ir.ops.pieces": Code.COUNT,
    "tilec.ir.ops.scan": Code.COMBINE,
    "tilec.ir.ops.semaphores": Code.SEMAPHORE,
    "tilec.ir.ops.shape": Code.SHAPES,
    "tilec.ir.ops.sync": Code.NAMED_BARRIER,
    "tilec.ir.ops.views": Code.VIEW,
    "tilec.ir.ops.warps": Code.WARPS,
    "tilec.ir.packing": Code.TYPE_NAME,
    "tilec.ir.shared": Code.LAYOUT,
    "tilec.ir.tensor": Code.TENSOR,
    "tilec.ir.text": Code.TEXT,
    "tilec.ir.turns": Code.NAMED_BARRIER,
    "tilec.ir.types": Code.COUNT,
    "tilec.launch": Code.LAUNCH,
    "tilec.passes": Code.LAYOUT_FITS,
    "tilec.passes.hazards": Code.BARRIER,
    "tilec.passes.lifetimes": Code.SHARED_FULL,
    "tilec.passes.shared_memory": Code.SHARED_FULL,
    "tilec.quant": Code.QUANTIZATION,
    "tilec.sim": Code.PTX,
    "tilec.sim.cli": Code.FILE,
    "tilec.sim.run": Code.SIMULATION,
    "tilec.sim.pytest_plugin": Code.SIMULATION,
    "tilec.trial": Code.CALL,
    "tilec.tune": Code.TUNING,
}


def of_module() -> Code:
    """The kind of errors of the innermost module of tilec that is running, but for the ones that only hand errors on."""
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name not in ("tilec.errors", "tilec.codes", "tilec.sim.report") and name.partition(".")[0] == "tilec":
            while name not in OF_MODULES:
                name = name.rpartition(".")[0]
            return OF_MODULES[name]
        frame = frame.f_back  # type: ignore[assignment]
    return Code.FILE


def page() -> str:
    """The text of docs/errors.md."""
    with open(os.path.join(os.path.dirname(__file__), "codes.md"), encoding="utf-8") as file:
        return file.read()


def explanation(code: str) -> str:
    """What the page says of a code such as "TILE0301"; an empty string if there is none."""
    number = re.fullmatch(r"(?:TILE)?0*(\d+)", code.strip(), re.IGNORECASE)
    heading = f"## TILE{int(number[1]):04d}:" if number else None
    parts = re.split(r"^(?=## )", page(), flags=re.MULTILINE)
    return next((p.strip() for p in parts if heading and p.startswith(heading)), "")
