"""A bundle as a C header: the machine code of a kernel for several architectures and in several variants, and a launcher.

The header needs cuda.h and the driver's library alone, and is C99 and C++11. It is made from the bundle's description (see `docs/bundles.md`),
the same that `tilec.load` reads: parameters in order, and grid, assumptions and rules as texts (`tilec.ir.hosttext`). Integers of these texts
are 64 bits wide; an overflow is an error of the launch, not a wrong grid.
"""

from __future__ import annotations

import ast
import re
import struct
from collections.abc import Iterator, Sequence
from typing import Any

from tilec.backend.target import target
from tilec.errors import TileError, require
from tilec.ir import hosttext
from tilec.ir.interp import GRID_LIMITS

WORDS = """alignas alignof and and_eq asm auto bitand bitor bool break case catch char class compl concept const constexpr const_cast continue
decltype default delete do double dynamic_cast else enum explicit export extern false float for friend goto if inline int long mutable
namespace new noexcept not not_eq nullptr operator or or_eq private protected public register reinterpret_cast requires restrict return
short signed sizeof static static_assert static_cast struct switch template this thread_local throw true try typedef typeid typename
union unsigned using virtual void volatile wchar_t while xor xor_eq NULL kernel stream"""  # of C, C++ and the launcher itself
RESERVED = frozenset(WORDS.split())
WHOLE = {"f32": "float", "f64": "double", "f16": "uint16_t", "bf16": "uint16_t", "bool": "uint8_t", "int8": "int8_t"}

PRELUDE = r"""
#ifndef TILEC_HOST
#define TILEC_HOST
/* Integers as in Python: // and % round down. What does not fit 64 bits, and what divides by zero, sets *bad. */
static inline int64_t tilec_add(int64_t a, int64_t b, int *bad) {
    if ((b > 0 && a > INT64_MAX - b) || (b < 0 && a < INT64_MIN - b)) { *bad = 1; return 0; }
    return a + b;
}
static inline int64_t tilec_sub(int64_t a, int64_t b, int *bad) {
    if ((b < 0 && a > INT64_MAX + b) || (b > 0 && a < INT64_MIN + b)) { *bad = 1; return 0; }
    return a - b;
}
static inline int64_t tilec_mul(int64_t a, int64_t b, int *bad) {
    uint64_t x = a < 0 ? 0 - (uint64_t)a : (uint64_t)a, y = b < 0 ? 0 - (uint64_t)b : (uint64_t)b;
    if (y != 0 && x > (uint64_t)INT64_MAX / y) { *bad = 1; return 0; }
    return a * b;
}
static inline int64_t tilec_floordiv(int64_t a, int64_t b, int *bad) {
    if (b == 0 || (b == -1 && a == INT64_MIN)) { *bad = 1; return 0; }
    return a / b - (a % b != 0 && (a % b < 0) != (b < 0));
}
static inline int64_t tilec_mod(int64_t a, int64_t b, int *bad) {
    if (b == 0 || (b == -1 && a == INT64_MIN)) { *bad = 1; return 0; }
    return a % b + (a % b != 0 && (a % b < 0) != (b < 0) ? b : 0);
}
static inline int64_t tilec_lshift(int64_t a, int64_t b, int *bad) {
    if (b < 0 || b > 62) { *bad = 1; return 0; }
    return tilec_mul(a, (int64_t)1 << b, bad);
}
static inline int64_t tilec_rshift(int64_t a, int64_t b, int *bad) {
    if (b < 0) { *bad = 1; return 0; }
    return b > 62 ? (a < 0 ? -1 : 0) : tilec_floordiv(a, (int64_t)1 << b, bad);
}
static inline int64_t tilec_u64(uint64_t a, int *bad) {
    if (a > (uint64_t)INT64_MAX) { *bad = 1; return 0; }
    return (int64_t)a;
}
static inline int64_t tilec_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t tilec_max(int64_t a, int64_t b) { return a > b ? a : b; }
#endif
"""

CHECKED = {
    ast.Add: "tilec_add", ast.Sub: "tilec_sub", ast.Mult: "tilec_mul", ast.FloorDiv: "tilec_floordiv", ast.Mod: "tilec_mod",
    ast.LShift: "tilec_lshift", ast.RShift: "tilec_rshift",
}  # fmt: skip
SYMBOLS = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^",
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
}  # fmt: skip


class Expression:
    """A host text as a C expression. `kinds` says what kind of number a name is (`kind_of`), `c` what C calls it."""

    def __init__(self, kinds: dict[str, str], c: dict[str, str]):
        self.kinds, self.c = kinds, c

    def condition(self, text: str) -> str:
        """As the truth of a condition."""
        return self(text, "bool")

    def integer(self, text: str) -> str:
        return self(text, "int")

    def __call__(self, text: str, wanted: str) -> str:
        found, kind = self.visit(hosttext.parse(text), text)
        require(kind == wanted or (wanted == "bool" and kind == "int"), f"{text} is a number of type {kind}, where {wanted} is wanted")
        return found if kind == wanted else f"({found} != 0)"

    def visit(self, node: ast.expr, text: str) -> tuple[str, str]:
        """C text, which binds as one operand, and its kind."""
        rule = getattr(self, f"visit_{type(node).__name__}")
        return rule(node, text)

    def visit_Constant(self, node: ast.Constant, text: str) -> tuple[str, str]:
        if isinstance(node.value, bool):
            return str(int(node.value)), "bool"
        if isinstance(node.value, int):
            require(node.value < 2**63, f"{text}: {node.value} does not fit 64 bits")
            return f"INT64_C({node.value})", "int"
        return repr(node.value), "float"

    def visit_Name(self, node: ast.Name, text: str) -> tuple[str, str]:
        require(node.id in self.kinds, f"{text}: there is no {node.id}", hint=f"there are {', '.join(self.kinds)}")
        kind = self.kinds[node.id]
        if kind not in ("int", "u64", "float", "bool"):
            raise TileError(f"{text}: {node.id} is {kind}, which C does not compute in", hint="pass it as f32")
        found = self.c[node.id]
        return {
            "bool": (f"({found} != 0)", "bool"), "float": (f"(double){found}", "float"), "int": (f"(int64_t){found}", "int"),
            "u64": (f"tilec_u64({found}, &tilec_bad)", "int"),
        }[kind]  # fmt: skip

    def visit_BinOp(self, node: ast.BinOp, text: str) -> tuple[str, str]:
        (x, left), (y, right) = self.visit(node.left, text), self.visit(node.right, text)
        kind = type(node.op)
        if kind in (ast.BitAnd, ast.BitOr, ast.BitXor) and left == right and left != "float":
            return f"({x} {SYMBOLS[kind]} {y})", left
        if "float" not in (left, right) and kind in CHECKED:
            return f"{CHECKED[kind]}({x}, {y}, &tilec_bad)", "int"
        require(kind in (ast.Add, ast.Sub, ast.Mult, ast.Div), f"{text} has no form in C: {ast.unparse(node)}")
        return f"((double){x} {SYMBOLS[kind]} (double){y})", "float"

    def visit_UnaryOp(self, node: ast.UnaryOp, text: str) -> tuple[str, str]:
        x, kind = self.visit(node.operand, text)
        if isinstance(node.op, ast.Not):
            return f"(!{x})", "bool"
        if isinstance(node.op, ast.UAdd):
            return x, kind
        if kind == "float":
            require(isinstance(node.op, ast.USub), f"{text} has no form in C: {ast.unparse(node)}")
            return f"(-{x})", kind
        return (f"tilec_sub(0, {x}, &tilec_bad)" if isinstance(node.op, ast.USub) else f"(~(int64_t){x})"), "int"

    def visit_BoolOp(self, node: ast.BoolOp, text: str) -> tuple[str, str]:
        symbol = " && " if isinstance(node.op, ast.And) else " || "
        return "(" + symbol.join(self.truth(v, text) for v in node.values) + ")", "bool"

    def visit_Compare(self, node: ast.Compare, text: str) -> tuple[str, str]:
        parts = [self.visit(v, text) for v in (node.left, *node.comparators)]
        mixed = "float" in {kind for _, kind in parts}
        values = [f"(double){x}" if mixed else x for x, _ in parts]
        pairs = [f"({a} {SYMBOLS[type(op)]} {b})" for a, op, b in zip(values, node.ops, values[1:], strict=False)]
        return (pairs[0] if len(pairs) == 1 else f"({' && '.join(pairs)})"), "bool"

    def visit_IfExp(self, node: ast.IfExp, text: str) -> tuple[str, str]:
        (x, left), (y, right) = self.visit(node.body, text), self.visit(node.orelse, text)
        kind = "float" if "float" in (left, right) else left if left == right else "int"
        return f"({self.truth(node.test, text)} ? {x} : {y})", kind

    def visit_Call(self, node: ast.Call, text: str) -> tuple[str, str]:
        assert isinstance(node.func, ast.Name)
        parts = [self.visit(a, text) for a in node.args]
        (x, kind), name = parts[0], node.func.id
        if name == "float":
            return f"((double){x})", "float"
        if name == "int" and kind != "float":
            return f"((int64_t){x})", "int"
        require(name in ("min", "max", "abs") and "float" not in {k for _, k in parts}, f"{text} has no form in C: {ast.unparse(node)}")
        if name == "abs":
            return f"tilec_max({x}, tilec_sub(0, {x}, &tilec_bad))", "int"
        return f"tilec_{name}({x}, {parts[1][0]})", "int"

    def truth(self, node: ast.expr, text: str) -> str:
        found, kind = self.visit(node, text)
        return found if kind == "bool" else f"({found} != 0)"


class Header:
    """The header of one bundle. `images` are the cubins by file name, or None if they are to be loaded from their files."""

    def __init__(self, bundle: dict[str, Any], images: dict[str, bytes] | None, maker: str):
        self.bundle, self.images, self.maker = bundle, images, maker
        self.name = c_name(bundle["name"])
        every = [b["parameters"] for b in bundle["builds"]]
        self.parameters = [{**versions[0], "written": any(p.get("written") for p in versions)} for versions in zip(*every, strict=True)]
        self.c = c_names([p["name"] for p in self.parameters])
        self.expression = Expression({p["name"]: kind_of(p) for p in self.parameters if p["kind"] != "tensor"}, self.c)
        self.variants: list[str] = bundle["variants"]
        self.builds = {(b["variant"], b["arch"]): b for b in bundle["builds"]}
        self.archs = sorted({b["arch"] for b in bundle["builds"]}, key=preference)
        self.messages: list[str] = []

    def text(self) -> str:
        guard = f"TILEC_BUNDLE_{self.name.upper()}_H"
        body = "\n".join(["", *self.pictures(), *self.state(), "", *self.load(), "", *self.launch(), "", *self.message()])
        includes = '#include <cuda.h>\n#include <stdint.h>\n#include <stddef.h>\n'
        if self.images is None:
            includes += "#include <stdio.h>\n"
        return f"{self.comment()}#ifndef {guard}\n#define {guard}\n\n{includes}{PRELUDE}{body}\n\n#endif\n"

    def code(self, message: str) -> int:
        """The number of an error: negative, as the driver's are positive."""
        if message not in self.messages:
            self.messages.append(message)
        return -1 - self.messages.index(message)

    # parts of the file

    def comment(self) -> str:
        place = "" if self.images is not None else ', "FOLDER"'
        arguments = ", ".join(self.c[p["name"]] for p in self.parameters)
        lines = [
            f"{self.bundle['name']}: machine code and a launcher, made by {self.maker}. C99 or C++11; needs the driver's library only.", "",
            f"    {self.name}_kernel kernel;",
            f"    int error = {self.name}_load(&kernel{place});       in the current context, once",
            f"    if (!error) error = {self.name}_launch(&kernel, stream, {arguments});",
            f"    if (error) puts({self.name}_message(error));       negative ones are the launcher's, others the driver's",
            f"    {self.name}_unload(&kernel);", "",
            "A launch waits for nothing and allocates nothing, and may be recorded into a graph. Tensors are addresses on the device:", "",
            *(f"    {self.c[p['name']]}: {self.about(p)}" for p in self.parameters), "",
            "Variants, in the order in which they are tried:", "",
            *(f"    {variant or 'the only one'}" + (f", if {when}" if when else "") for when, variant in self.candidates()),
        ]  # fmt: skip
        return "/* " + "\n   ".join(line.replace("*/", "* /") for line in lines).replace("\n   \n", "\n\n") + " */\n"

    def about(self, p: dict[str, Any]) -> str:
        if p["kind"] == "dimension":
            return "a dimension"
        if p["kind"] == "stride":
            return "a stride in elements"
        if p["kind"] == "scalar":
            return f"{p['type']}" + (", its bits" if p["type"] in ("f16", "bf16") else "")
        packed = " packed from the least significant bit" if p["bits"] % 8 and p["type"] != "bool" else ""
        packed += " into whole words of 4 bytes" if packed and p["written"] else ""
        how = "strided" if p["strided"] else "row-major"
        return f"{p['type']}[{', '.join(map(str, p['shape']))}], {how}{packed}, at a multiple of {p['alignment']} bytes"

    def pictures(self) -> Iterator[str]:
        """The cubins, in words of the processor: GPUs have none but little-endian hosts."""
        for file, data in sorted((self.images or {}).items()):
            padded = data + bytes(-len(data) % 8)
            words = [f"0x{w:x}ULL" for (w,) in struct.iter_unpack("<Q", padded)]
            yield f"static const uint64_t {self.picture(file)}[] = {{"
            yield from ("    " + ", ".join(words[n : n + 8]) + "," for n in range(0, len(words), 8))
            yield "};\n"

    def picture(self, file: str) -> str:
        return f"tilec_{self.name}_" + re.sub(r"\W", "_", file.removesuffix(".cubin").partition(".")[2], flags=re.ASCII)

    def state(self) -> list[str]:
        n = len(self.variants)
        return [f"typedef struct {self.name}_kernel {{", f"    CUmodule module[{n}];", f"    CUfunction function[{n}];", f"    unsigned shared[{n}];",
                f"}} {self.name}_kernel;"]  # fmt: skip

    def load(self) -> Iterator[str]:
        n, folder = len(self.variants), self.images is None
        yield f"static inline void {self.name}_unload({self.name}_kernel *kernel) {{"
        yield "    int i;"
        yield f"    for (i = 0; i < {n}; i++) {{"
        yield "        if (kernel->module[i]) (void)cuModuleUnload(kernel->module[i]);"
        yield "        kernel->module[i] = NULL;\n    }\n}\n"
        yield f"static inline int {self.name}_load({self.name}_kernel *kernel{', const char *folder' if folder else ''}) {{"
        yield f"    const void *image[{n}];" if not folder else f"    const char *image[{n}];\n    char path[4096];"
        yield f"    const char *entry[{n}];"
        yield "    CUdevice device;\n    CUresult error;\n    int i, major = 0, minor = 0;"
        yield f"    for (i = 0; i < {n}; i++) kernel->module[i] = NULL;"
        yield "    if ((error = cuCtxGetDevice(&device)) != CUDA_SUCCESS) return (int)error;"
        for part in ("major", "minor"):
            attribute = f"CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_{part.upper()}"
            yield f"    if ((error = cuDeviceGetAttribute(&{part}, {attribute}, device)) != CUDA_SUCCESS) return (int)error;"
        for arch in self.archs:
            yield f"    {'if' if arch == self.archs[0] else 'else if'} ({runs_on(arch)}) {{  /* {arch} */"
            for i, variant in enumerate(self.variants):
                build = self.builds[variant, arch]
                image = self.picture(build["cubin"]) if not folder else c_string(build["cubin"])
                yield f"        image[{i}] = {image}; entry[{i}] = {c_string(build['entry'])}; kernel->shared[{i}] = {build['shared_bytes']};"
            yield "    }"
        yield f"    else return {self.code('no build of this bundle runs on the GPU: it has ' + ', '.join(self.archs))};"
        yield f"    for (i = 0; i < {n}; i++) {{"
        if folder:
            yield '        if (snprintf(path, sizeof path, "%s/%s", folder, image[i]) >= (int)sizeof path) {'
            yield f"            {self.name}_unload(kernel);\n            return {self.code('the name of the folder is too long')};\n        }}"
            yield "        error = cuModuleLoad(&kernel->module[i], path);"
        else:
            yield "        error = cuModuleLoadData(&kernel->module[i], image[i]);"
        yield "        if (error != CUDA_SUCCESS) kernel->module[i] = NULL;"
        yield "        else error = cuModuleGetFunction(&kernel->function[i], kernel->module[i], entry[i]);"
        yield "        if (error == CUDA_SUCCESS && kernel->shared[i] > 0)  /* beyond 48 KB a kernel must ask */"
        yield "            error = cuFuncSetAttribute(kernel->function[i], CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, (int)kernel->shared[i]);"
        yield f"        if (error != CUDA_SUCCESS) {{\n            {self.name}_unload(kernel);\n            return (int)error;\n        }}"
        yield "    }\n    return 0;\n}"

    def launch(self) -> Iterator[str]:
        parameters = "".join(f",\n    {self.declaration(p)}" for p in self.parameters)
        yield f"static inline int {self.name}_launch(const {self.name}_kernel *kernel, CUstream stream{parameters}) {{"
        dims = [p["name"] for p in self.parameters if p["kind"] == "dimension"]
        for name in dims:
            yield f"    int32_t tilec_dim_{self.c[name]} = (int32_t){self.c[name]};"
        yield "    int64_t tilec_grid[3] = {1, 1, 1};"
        yield "    int tilec_bad = 0, tilec_choice = -1, tilec_failed = 0;\n    unsigned tilec_threads = 0;"
        passed = ", ".join(f"(void *)&{'tilec_dim_' if p['kind'] == 'dimension' else ''}{self.c[p['name']]}" for p in self.parameters)
        yield f"    void *tilec_arguments[] = {{{passed}{', ' if passed else ''}NULL}};"
        yield from self.checks()
        yield from self.choice()
        overflow = self.code("an expression of the launch divides by zero, or does not fit 64 bits")
        yield f"    if (tilec_bad) return {overflow};"
        yield "    if (tilec_choice < 0) return tilec_failed;"
        for axis, limit in enumerate(GRID_LIMITS):
            number = self.code(f"the grid has less than 0 or more than {limit} blocks along axis {axis}")
            yield f"    if (tilec_grid[{axis}] < 0 || tilec_grid[{axis}] > {limit}) return {number};"
        yield "    if (tilec_grid[0] == 0 || tilec_grid[1] == 0 || tilec_grid[2] == 0) return 0;  /* nothing to do */"
        yield "    return (int)cuLaunchKernel(kernel->function[tilec_choice],"
        yield "        (unsigned)tilec_grid[0], (unsigned)tilec_grid[1], (unsigned)tilec_grid[2], tilec_threads, 1, 1,"
        yield "        kernel->shared[tilec_choice], stream, tilec_arguments, NULL);\n}"

    def checks(self) -> Iterator[str]:
        for p in self.parameters:
            name = self.c[p["name"]]
            if p["kind"] == "dimension":
                yield f"    if ({name} < 0 || {name} > 2147483647) return {self.code(p['name'] + ' is not from 0 to 2147483647')};"
            elif p["kind"] == "stride":
                yield f"    if ({name} < 0) return {self.code(p['name'] + ' is negative')};"
            elif p["kind"] == "tensor":
                at = p["alignment"]
                number = self.code(f"{p['name']} is not at a multiple of {at} bytes")
                yield f"    if ((uintptr_t){name} % {at} != 0) return {number};"
        for p in self.parameters:
            if p["kind"] == "tensor":
                extents = [self.c[n] for n in p["shape"] if isinstance(n, str)]
                some = "".join(f" && {n} > 0" for n in dict.fromkeys(extents))
                yield f"    if (!{self.c[p['name']]}{some}) return {self.code(p['name'] + ' is NULL')};"

    def candidates(self) -> list[tuple[str | None, str]]:
        """Conditions and variants in the order in which they are tried: those of the rules, then all."""
        return [*((r["when"], r["variant"]) for r in self.bundle["rules"]), *((None, v) for v in self.variants)]

    def choice(self) -> Iterator[str]:
        """The first variant whose condition and assumptions hold; the first failure is the one to tell if there is none."""
        for when, variant in self.candidates():
            index = self.variants.index(variant)
            build = self.builds[variant, self.archs[0]]
            condition = f" && {self.expression.condition(when)}" if when else ""
            yield f"    if (tilec_choice < 0{condition}) {{  /* {variant or self.name}{f' if {when}' if when else ''} */"
            start = "if"
            for fact in build["assumptions"]:
                of = f" of the variant {variant}" if len(self.variants) > 1 else ""
                number = self.code(f"the assumption {fact}{of} does not hold")
                yield f"        {start} (!{self.expression.condition(fact)}) {{ if (!tilec_failed) tilec_failed = {number}; }}"
                start = "else if"
            taken = [f"tilec_choice = {index};", f"tilec_threads = {build['threads']};"]
            taken += [f"tilec_grid[{axis}] = {self.expression.integer(extent)};" for axis, extent in enumerate(build["grid"])]
            facts = bool(build["assumptions"])
            yield from ["        else {"] * facts + [f"        {'    ' * facts}{line}" for line in taken] + ["        }"] * facts + ["    }"]

    def message(self) -> Iterator[str]:
        yield f"static inline const char *{self.name}_message(int code) {{"
        yield "    static const char *const said[] = {"
        yield from (f"        {c_string(text)}," for text in self.messages)
        yield "    };"
        yield '    const char *text = NULL;\n    if (code == 0) return "done";'
        yield f'    if (code < 0) return code >= -{len(self.messages)} ? said[-1 - code] : "no error of this launcher";'
        yield "    if (cuGetErrorString((CUresult)code, &text) != CUDA_SUCCESS || !text) return \"an error that the driver has no words for\";"
        yield "    return text;\n}"

    def declaration(self, p: dict[str, Any]) -> str:
        name = self.c[p["name"]]
        if p["kind"] in ("dimension", "stride"):
            return f"int64_t {name}"
        if p["kind"] == "scalar":
            return f"{c_type(p['type'])} {name}"
        return f"{'' if p['written'] else 'const '}{c_type(p['type'])} *{name}"


def header(bundle: dict[str, Any], images: dict[str, bytes] | None, maker: str = "tilec") -> str:
    """The C header of a bundle. Raises TileError for variants that take different parameters, and for expressions that C does not have."""
    parameters = {b["variant"]: [{k: v for k, v in p.items() if k != "written"} for p in b["parameters"]] for b in bundle["builds"]}
    first, *others = parameters.items()
    for label, found in others:
        hint = "compile each with its own --name"
        require(found == first[1], f"the variants {first[0]} and {label} take different parameters, and one launcher can't serve both", hint=hint)
    return Header(bundle, images, maker).text()


def preference(arch: str) -> tuple[Any, ...]:
    """Architectures in the order in which a device should take them: the newest, and the most specific, first."""
    found = target(arch)
    return (tuple(-n for n in found.capability), -["", "f", "a"].index(found.suffix))


def runs_on(arch: str) -> str:
    """`Target.runs_on` as a condition on major and minor."""
    (major, minor), exactly = target(arch).capability, target(arch).suffix == "a"
    return f"major == {major} && minor {'==' if exactly else '>='} {minor}"


def kind_of(p: dict[str, Any]) -> str:
    """How C computes with a parameter: as an "int", "u64", "float" or "bool"; else the name of its type, in which it does not."""
    name = p["type"]
    if name in ("f32", "f64"):
        return "float"
    return name if name in ("f16", "bf16", "u64") else "bool" if name == "bool" else "int"


def c_type(dtype: str) -> str:
    """The C type of one element, or of the bytes that packed elements fill."""
    if dtype in WHOLE:
        return WHOLE[dtype]
    wide = re.fullmatch(r"([iu])(16|32|64)", dtype)
    return f"{'u' * (wide[1] == 'u')}int{wide[2]}_t" if wide else "uint8_t"


def c_name(name: str) -> str:
    """A Python name as a C name."""
    plain = "".join(ch if ch.isascii() and (ch.isalnum() or ch == "_") else "_" if ch.isascii() else f"_u{ord(ch):04x}" for ch in name)
    return f"{plain}_" if plain in RESERVED or plain.startswith("tilec_") else plain


def c_names(names: Sequence[str]) -> dict[str, str]:
    """C names that differ where the names do."""
    found: dict[str, str] = {}
    for name in names:
        made = c_name(name)
        while made in found.values():
            made += "_"
        found[name] = made
    return found


def c_string(text: str) -> str:
    """A C string literal."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("??", "?\\?")
    return f'"{escaped}"'


