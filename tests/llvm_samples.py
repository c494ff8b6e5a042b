"""Kernels written by hand as LLVM IR text, for the tests of what comes after it."""

G = "ptr addrspace(1)"

# c[i] = a[i] + b[i], four elements a thread
VECTOR_ADD = f"""
define ptx_kernel void @vector_add({G} noalias readonly align 16 %a, {G} noalias readonly align 16 %b, {G} align 16 %c)
    "nvvm.reqntid"="128,1,1" {{
  %block = call i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
  %thread = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %first = shl i32 %block, 7
  %i = add i32 %first, %thread
  %pa = getelementptr <4 x float>, {G} %a, i32 %i
  %pb = getelementptr <4 x float>, {G} %b, i32 %i
  %pc = getelementptr <4 x float>, {G} %c, i32 %i
  %va = load <4 x float>, {G} %pa, align 16
  %vb = load <4 x float>, {G} %pb, align 16
  %vc = fadd <4 x float> %va, %vb
  store <4 x float> %vc, {G} %pc, align 16
  ret void
}}
"""

# through 4096 bytes of static shared memory and a barrier
SHARED = f"""
@tile = internal addrspace(3) global [4096 x i8] poison, align 128
define ptx_kernel void @exchange({G} %a) "nvvm.reqntid"="128,1,1" {{
  %t = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %p = getelementptr i32, ptr addrspace(3) @tile, i32 %t
  store i32 %t, ptr addrspace(3) %p
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  %other = xor i32 %t, 5
  %q = getelementptr i32, ptr addrspace(3) @tile, i32 %other
  %v = load i32, ptr addrspace(3) %q
  %g = getelementptr i32, {G} %a, i32 %t
  store i32 %v, {G} %g
  ret void
}}
"""

# n products on the tensor core in a loop that stays one; one operand is the loop's counter
MMA_LOOP = f"""
define ptx_kernel void @products({G} %out, i32 %n) "nvvm.reqntid"="32,1,1" {{
start:
  br label %loop
loop:
  %i = phi i32 [0, %start], [%next, %loop]
  %c0 = phi float [0.0, %start], [%d0, %loop]
  %c1 = phi float [0.0, %start], [%d1, %loop]
  %c2 = phi float [0.0, %start], [%d2, %loop]
  %c3 = phi float [0.0, %start], [%d3, %loop]
  %a = bitcast i32 %i to <2 x half>
  %d = call {{float, float, float, float}} @llvm.nvvm.mma.m16n8k16.row.col.f32.f32(
       <2 x half> %a, <2 x half> %a, <2 x half> %a, <2 x half> %a, <2 x half> %a, <2 x half> %a, float %c0, float %c1, float %c2, float %c3)
  %d0 = extractvalue {{float, float, float, float}} %d, 0
  %d1 = extractvalue {{float, float, float, float}} %d, 1
  %d2 = extractvalue {{float, float, float, float}} %d, 2
  %d3 = extractvalue {{float, float, float, float}} %d, 3
  %next = add i32 %i, 1
  %more = icmp slt i32 %next, %n
  br i1 %more, label %loop, label %end, !llvm.loop !0
end:
  store float %d0, {G} %out
  ret void
}}
!0 = distinct !{{!0, !1}}
!1 = !{{!"llvm.loop.unroll.disable"}}
"""

# line 12 of kernel.py, and line 4 of helper.py inlined there
LINES = f"""
define ptx_kernel void @k({G} %a) "nvvm.reqntid"="32,1,1" !dbg !5 {{
  %t = call i32 @llvm.nvvm.read.ptx.sreg.tid.x(), !dbg !8
  %p = getelementptr float, {G} %a, i32 %t, !dbg !8
  %v = load float, {G} %p, !dbg !8
  %w = call float @llvm.nvvm.ex2.approx.ftz.f32(float %v), !dbg !9
  store float %w, {G} %p, !dbg !10
  ret void, !dbg !10
}}
!llvm.dbg.cu = !{{!0}}
!llvm.module.flags = !{{!2, !3}}
!0 = distinct !DICompileUnit(language: DW_LANG_C, file: !1, producer: "tilec", emissionKind: DebugDirectivesOnly)
!1 = !DIFile(filename: "kernel.py", directory: "/home/me")
!2 = !{{i32 2, !"Dwarf Version", i32 2}}
!3 = !{{i32 2, !"Debug Info Version", i32 3}}
!4 = !DISubroutineType(types: !{{}})
!5 = distinct !DISubprogram(name: "k", file: !1, line: 10, type: !4, unit: !0, spFlags: DISPFlagDefinition)
!6 = distinct !DISubprogram(name: "helper", file: !7, line: 3, type: !4, unit: !0, spFlags: DISPFlagDefinition)
!7 = !DIFile(filename: "helper.py", directory: "/home/me")
!8 = !DILocation(line: 12, column: 5, scope: !5)
!9 = !DILocation(line: 4, column: 5, scope: !6, inlinedAt: !8)
!10 = !DILocation(line: 13, column: 5, scope: !5)
"""
