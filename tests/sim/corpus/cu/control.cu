// Control flow: switches, function pointers, calls that are not inlined, recursion, virtual functions, printf, assert, trap.
#include <cassert>
#include <cstdio>
#define INDEX int i = blockIdx.x * blockDim.x + threadIdx.x; if (i >= n) return

extern "C" __global__ void dense_switch(const int* op, const int* x, int* y, int n) {
    INDEX;
    int v = x[i], r;
    switch (op[i]) {
        case 0: r = v + 1; for (int k = 0; k < (v & 3); ++k) r = r * 5 + k; break;
        case 1: r = v * v - 3; break;
        case 2: r = __popc(v) << (v & 7); break;
        case 3: r = v / 7; break;
        case 4: r = v % 11 ^ 0x55; // fall through
        case 5: r = v >> 2; break;
        case 6: r = __clz(v | 1) * v; break;
        case 7: r = abs(v) - 100; break;
        default: r = -1;
    }
    y[i] = r;
}

extern "C" __global__ void jump_table(const int* op, const int* x, int* y, int n) {
    INDEX;
    int r = x[i];
    asm volatile("{\n .reg .pred p;\n"
        " setp.gt.u32 p, %1, 3;\n @p bra OUT;\n"
        " ts: .branchtargets L0, L1, L2, L3;\n"
        " brx.idx %1, ts;\n"
        "L0: add.s32 %0, %0, 100; bra OUT;\n"
        "L1: mul.lo.s32 %0, %0, 3; bra OUT;\n"
        "L2: neg.s32 %0, %0;\n"
        "L3: xor.b32 %0, %0, 7;\n"
        "OUT:\n}" : "+r"(r) : "r"(op[i]));
    y[i] = r;
}

__device__ __noinline__ float f_square(float x) { return x * x; }
__device__ __noinline__ float f_half(float x) { return 0.5f * x; }
__device__ __noinline__ float f_shift(float x) { return x + 3.f; }
typedef float (*Fn)(float);
__device__ Fn const table[3] = {f_square, f_half, f_shift};
extern "C" __global__ void function_pointers(const int* op, const float* x, float* y, int n) {
    INDEX;
    Fn f = table[op[i]];
    y[i] = f(x[i]);
}

struct Pair { int quotient; float rest; };
__device__ __noinline__ Pair divide(float a, float b) { int q = (int)(a / b); return {q, a - q * b}; }
__device__ __noinline__ void accumulate(Pair p, int* count, float* rest) { *count += p.quotient; *rest += p.rest; }
extern "C" __global__ void noinline_calls(const float* x, int* count, float* rest, int n) {
    INDEX;
    int c = 0;
    float r = 0;
    for (int k = 0; k < 4; ++k) accumulate(divide(x[4 * i + k], 0.75f), &c, &r);
    count[i] = c;
    rest[i] = r;
}

__device__ __noinline__ int ackermann(int m, int k) { return m == 0 ? k + 1 : ackermann(m - 1, k == 0 ? 1 : ackermann(m, k - 1)); }
extern "C" __global__ void recursion(const int* m, const int* k, int* y, int n) { INDEX; y[i] = ackermann(m[i], k[i]); }

extern "C" __global__ void print_values(const int* x, int n) {
    INDEX;
    if (x[i] < 0) printf("element %d is %d (%.2f, %s)\n", i, x[i], 0.5 * x[i], "negative");
}

extern "C" __global__ void assert_positive(const int* x, int* y, int n) {
    INDEX;
    assert(x[i] > 0);
    y[i] = x[i] + 1;
}

// Escape-time iteration: every thread leaves its loop at a time of its own.
extern "C" __global__ void mandelbrot(int* y, int w, int h, int limit) {
    int px = blockIdx.x * blockDim.x + threadIdx.x, py = blockIdx.y * blockDim.y + threadIdx.y;
    if (px >= w || py >= h) return;
    double cx = -2. + 2.5 * px / w, cy = -1.25 + 2.5 * py / h, a = 0, b = 0;
    int k = 0;
    while (k < limit && a * a + b * b <= 4.) { double t = a * a - b * b + cx; b = 2 * a * b + cy; a = t; ++k; }
    y[py * w + px] = k;
}

// Nested divergence with break, continue and an early return.
extern "C" __global__ void nested_divergence(const int* x, int* y, int n) {
    INDEX;
    int v = x[i], r = 0;
    for (int a = 0; a < 6; ++a) {
        if ((v >> a & 1) == 0) continue;
        for (int b = 0; b < 8; ++b) {
            if (((v + b) & 7) == a) break;
            r += a * b + 1;
            if (r > 120) { y[i] = -r; return; }
        }
        r ^= v & a;
    }
    y[i] = r;
}

// Virtual functions on objects that threads build in local memory.
struct Shape { __device__ virtual float area() const = 0; };
struct Disc : Shape { float r; __device__ Disc(float r) : r(r) {} __device__ __noinline__ float area() const override { return 3.f * r * r; } };
struct Box : Shape { float a, b; __device__ Box(float a, float b) : a(a), b(b) {} __device__ __noinline__ float area() const override { return a * b; } };
__device__ __noinline__ float measure(const Shape* s) { return s->area() + 1.f; }
extern "C" __global__ void virtual_calls(const float* x, float* y, int n) {
    INDEX;
    Disc d(x[i]);
    Box b(x[i], 2.f);
    y[i] = x[i] > 0 ? measure(&d) : measure(&b);
}
