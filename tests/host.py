"""Runs emitted LLVM IR on the machine that runs the tests: one function for each body, mapped over arrays.

What only GPUs have (llvm.nvvm.*) is replaced by what it approximates, from the C library. bfloat's rounding, which x86 takes from a
library that may be missing, is written out here.
"""

import ctypes
import functools
import platform

import llvmlite.binding as llvm
import numpy as np

from tilec.backend.emit import Emitter, llvm_type

# The approximations' functions of a double d, and how large the error is that the CUDA C++ Programming Guide allows them, less the final
# rounding; for the logarithm it is absolute where |result| < 1.
ULP = 2**-23 * 0.9999  # of a number just above a power of two, a little less so that ties don't round outwards
APPROXIMATIONS = {
    "ex2.approx.f32": ("call double @llvm.exp2.f64(double %d)", 1.5 * ULP),
    "ex2.approx.ftz.f": ("call double @llvm.exp2.f64(double %d)", 1.5 * ULP),
    "lg2.approx.f": ("call double @llvm.log2.f64(double %d)", 1.5 * ULP),
    "lg2.approx.ftz.f": ("call double @llvm.log2.f64(double %d)", 1.5 * ULP),
    "rsqrt.approx.ftz.f": ("fdiv double 1.0, %root", 1.5 * ULP),
    "rsqrt.approx.f": ("fdiv double 1.0, %root", 1.5 * ULP),
    "rcp.approx.ftz.f": ("fdiv double 1.0, %d", 0.5 * ULP),
    "sqrt.approx.f": ("fadd double %root, 0.0", 0.5 * ULP),
    "sin.approx.ftz.f": ("call double @llvm.sin.f64(double %d)", 2**-20.5 * 0.9999),
    "cos.approx.ftz.f": ("call double @llvm.cos.f64(double %d)", 2**-20.5 * 0.9999),
}
APPROXIMATION = """
define float @host.{name}(float %given) {{
  %size = call float @llvm.fabs.f32(float %given)
  %tiny = fcmp olt float %size, 0x3810000000000000
  %none = call float @llvm.copysign.f32(float 0.0, float %given)
  %flushed = select i1 %tiny, float %none, float %given
  %x = select i1 {flushes}, float %flushed, float %given
  %d = fpext float %x to double
  %root = call double @llvm.sqrt.f64(double %d)
  %y = {function}
  %a = call double @llvm.fabs.f64(double %y)
  %m = call double @llvm.maxnum.f64(double %a, double {least})
  %e = fmul double %m, {error:.17e}
  %s = fadd double %y, %e
  %finite = fcmp one double %a, 0x7FF0000000000000
  %r = select i1 %finite, double %s, double %y
  %t = fptrunc double %r to float
  ret float %t
}}
"""
BFLOAT = """
define bfloat @__truncsfbf2(float %x) {
  %b = bitcast float %x to i32
  %u = lshr i32 %b, 16
  %odd = and i32 %u, 1
  %half = add i32 %odd, 32767
  %sum = add i32 %b, %half
  %up = lshr i32 %sum, 16
  %quiet = or i32 %u, 64
  %nan = fcmp uno float %x, %x
  %r = select i1 %nan, i32 %quiet, i32 %up
  %s = trunc i32 %r to i16
  %h = bitcast i16 %s to bfloat
  ret bfloat %h
}
"""


def support(skew):
    """The functions that replace the GPU's, with `skew` (-1 to 1) times the error that they are allowed."""
    made = [
        APPROXIMATION.format(
            name=name, function=function, error=skew * error, flushes=str("ftz" in name).lower(), least=float(name[:3] in ("lg2", "sin", "cos"))
        )
        for name, (function, error) in APPROXIMATIONS.items()
    ]
    return BFLOAT + "".join(made)


class Host:
    """Collects functions, then compiles them all at the first run, with LLVM's optimizations if `optimize`."""

    def __init__(self, optimize=False, skew=0.0):
        self.optimize, self.skew = optimize, skew
        self.bodies = {}
        self.globals = []

    def add(self, name, inputs, output, emit):
        """`emit(e, *operands)` returns the result; operands and result are elements as `llvm_type` holds them."""
        e = Emitter()
        e.start("entry")
        e.jump("loop")
        e.start("loop")
        head = len(e.text)
        e.text.append("")
        operands = []
        for number, dtype in enumerate(inputs):
            kind = "i8" if dtype.is_bool else llvm_type(dtype)
            at = e.let(f"getelementptr {kind}, ptr %in{number}, i64 %i")
            x = e.let(f"load {kind}, ptr {at}")
            operands.append(e.let(f"trunc i8 {x} to i1") if dtype.is_bool else x)
        result, kind = emit(e, *operands), llvm_type(output)
        if output.is_bool:
            result, kind = e.let(f"zext i1 {result} to i8"), "i8"
        e.line(f"store {kind} {result}, ptr {e.let(f'getelementptr {kind}, ptr %out, i64 %i')}")
        e.text[head] = f"  %i = phi i64 [ 0, %entry ], [ %next, %{e.label} ]"
        e.text += ["  %next = add i64 %i, 1", "  %done = icmp eq i64 %next, %n", "  br i1 %done, label %end, label %loop"]
        e.text += ["end:", "  ret void"]
        parameters = ", ".join([f"ptr %in{k}" for k in range(len(inputs))] + ["ptr %out", "i64 %n"])
        self.bodies[name] = (f'define void @"{name}"({parameters}) {{\n' + "\n".join(e.text) + "\n}\n", output)
        self.globals += [g for g in e.declared if g not in self.globals]

    @functools.cached_property
    def engine(self):
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        features = "+avx2,+fma,+f16c" if platform.machine() in ("x86_64", "AMD64") else ""  # AVX-512's bfloat drops subnormals
        machine = llvm.Target.from_default_triple().create_target_machine(features=features, opt=int(self.optimize), jit=True)
        text = support(self.skew) + "\n".join(self.globals) + "\n" + "".join(body for body, _ in self.bodies.values())
        module = llvm.parse_assembly(text.replace("@llvm.nvvm.", "@host.").replace(" addrspace(1)", ""))
        module.verify()
        if self.optimize:
            builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=1))
            builder.getModulePassManager().run(module, builder)
        engine = llvm.create_mcjit_compiler(module, machine)
        engine.finalize_object()
        return engine

    def run(self, name, *arrays):
        """Codes of the results from codes of the inputs, in the types' `codes`."""
        output = self.bodies[name][1]
        arrays = [np.ascontiguousarray(a) for a in arrays]
        out = np.empty(arrays[0].shape, output.codes)
        function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * (len(arrays) + 1), ctypes.c_int64)(self.engine.get_function_address(name))
        function(*(a.ctypes.data for a in arrays), out.ctypes.data, out.size)
        return out
