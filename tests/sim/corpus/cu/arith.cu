// Arithmetic: elementary functions, integers, packed halves, conversions, bit tricks.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cstdint>
#define INDEX int i = blockIdx.x * blockDim.x + threadIdx.x; if (i >= n) return

// out[12][n]
extern "C" __global__ void math_f32(const float* x, float* o, int n) {
    INDEX;
    float v = x[i], p = fabsf(v) + 0.125f;
    o[i] = sinf(v); o[n + i] = cosf(v); o[2 * n + i] = tanf(v * 0.3f); o[3 * n + i] = expf(v); o[4 * n + i] = logf(p); o[5 * n + i] = powf(p, 1.5f);
    o[6 * n + i] = erff(v); o[7 * n + i] = tanhf(v); o[8 * n + i] = atan2f(v, p); o[9 * n + i] = cbrtf(v); o[10 * n + i] = log1pf(p); o[11 * n + i] = fmodf(v, 0.7f);
}
extern "C" __global__ void math_fast(const float* x, float* o, int n) {
    INDEX;
    float v = x[i], p = fabsf(v) + 0.125f;
    o[i] = __sinf(v); o[n + i] = __cosf(v); o[2 * n + i] = __expf(v); o[3 * n + i] = __logf(p); o[4 * n + i] = __fdividef(v, p); o[5 * n + i] = rsqrtf(p);
    o[6 * n + i] = __powf(p, 1.5f);
    asm("tanh.approx.f32 %0, %1;" : "=f"(o[7 * n + i]) : "f"(v));
}
extern "C" __global__ void math_f64(const double* x, double* o, int n) {
    INDEX;
    double v = x[i], p = fabs(v) + 0.125;
    o[i] = sin(v); o[n + i] = cos(v); o[2 * n + i] = exp(v); o[3 * n + i] = log(p); o[4 * n + i] = pow(p, 1.5); o[5 * n + i] = erf(v);
    o[6 * n + i] = v / p; o[7 * n + i] = sqrt(p); o[8 * n + i] = tgamma(p); o[9 * n + i] = fma(v, p, v); o[10 * n + i] = rsqrt(p); o[11 * n + i] = atan(v);
}
// Each rounding direction; out[12][n]
extern "C" __global__ void rounding(const float* x, const float* y, float* o, int n) {
    INDEX;
    float a = x[i], b = y[i];
    o[i] = __fadd_rn(a, b); o[n + i] = __fadd_rz(a, b); o[2 * n + i] = __fadd_ru(a, b); o[3 * n + i] = __fadd_rd(a, b);
    o[4 * n + i] = __fmul_rz(a, b); o[5 * n + i] = __fmaf_rd(a, b, a); o[6 * n + i] = __fdiv_rn(a, b); o[7 * n + i] = __frcp_rn(b);
    o[8 * n + i] = __fsqrt_rn(fabsf(b)); o[9 * n + i] = __saturatef(a); o[10 * n + i] = __fmaf_rn(a, b, -a); o[11 * n + i] = copysignf(a, b);
}

extern "C" __global__ void divide_64(const long long* a, const long long* b, long long* q, long long* r, unsigned long long* uq, int n) {
    INDEX;
    q[i] = a[i] / b[i]; r[i] = a[i] % b[i]; uq[i] = (unsigned long long)a[i] / (unsigned long long)b[i];
}
extern "C" __global__ void wide_multiply(const long long* a, const long long* b, long long* hi, unsigned long long* uhi, unsigned long long* s, int n) {
    INDEX;
    hi[i] = __mul64hi(a[i], b[i]); uhi[i] = __umul64hi(a[i], b[i]);
    unsigned __int128 w = (unsigned __int128)(unsigned long long)a[i] * (unsigned long long)b[i] + (unsigned long long)a[i];   // carries
    s[i] = (unsigned long long)(w >> 64) ^ (unsigned long long)w;
}
// out[14][n]
extern "C" __global__ void bits(const unsigned* x, const unsigned* y, unsigned* o, int n) {
    INDEX;
    unsigned a = x[i], b = y[i];
    o[i] = __popc(a); o[n + i] = __clz(a); o[2 * n + i] = __brev(a); o[3 * n + i] = __ffs(a); o[4 * n + i] = __byte_perm(a, b, 0x5140 ^ (b & 0x7777));
    o[5 * n + i] = __funnelshift_l(a, b, a & 63); o[6 * n + i] = __funnelshift_rc(a, b, b & 63); o[7 * n + i] = __usad(a, b, 5); o[8 * n + i] = __umulhi(a, b);
    o[9 * n + i] = __dp4a((int)a, (int)b, (int)a); o[10 * n + i] = __dp4a(a, b, a);
    unsigned r; asm("bfe.s32 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b & 31), "r"(b >> 5 & 31)); o[11 * n + i] = r;
    asm("bfi.b32 %0, %1, %2, %3, %4;" : "=r"(r) : "r"(a), "r"(b), "r"(b & 31), "r"(b >> 5 & 15)); o[12 * n + i] = r;
    asm("dp2a.lo.s32.u32 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(7)); o[13 * n + i] = r;
}
extern "C" __global__ void video_simd(const unsigned* x, const unsigned* y, unsigned* o, int n) {
    INDEX;
    unsigned a = x[i], b = y[i];
    o[i] = __vadd4(a, b); o[n + i] = __vabsdiffu4(a, b); o[2 * n + i] = __vmaxs2(a, b); o[3 * n + i] = __vcmpgtu4(a, b); o[4 * n + i] = __vavgu4(a, b);
}

// Packed halves; out[8][n] of pairs. Inputs are moderate, so nothing overflows but in the saturating forms.
extern "C" __global__ void half2_arith(const __half2* x, const __half2* y, __half2* o, int n) {
    INDEX;
    __half2 a = x[i], b = y[i];
    o[i] = __hadd2(a, b); o[n + i] = __hmul2(a, b); o[2 * n + i] = __hfma2(a, b, a); o[3 * n + i] = __hfma2_sat(a, b, b); o[4 * n + i] = __hmax2(a, b);
    o[5 * n + i] = __hsub2(__habs2(a), __hneg2(b)); o[6 * n + i] = __hgt2(a, b); o[7 * n + i] = __hfma2_relu(a, b, a);
}
extern "C" __global__ void bf162_arith(const __nv_bfloat162* x, const __nv_bfloat162* y, __nv_bfloat162* o, int n) {
    INDEX;
    __nv_bfloat162 a = x[i], b = y[i];
    o[i] = __hadd2(a, b); o[n + i] = __hmul2(a, b); o[2 * n + i] = __hfma2(a, b, a); o[3 * n + i] = __hmin2(a, b); o[4 * n + i] = __habs2(a);
    o[5 * n + i] = __hfma2_relu(a, b, a);
}
extern "C" __global__ void half_math(const __half* x, __half* o, int n) {
    INDEX;
    __half v = x[i];
    o[i] = hsqrt(__habs(v)); o[n + i] = __hdiv(v, __float2half(3.f)); o[2 * n + i] = hexp(v); o[3 * n + i] = hrcp(__hadd(__habs(v), __float2half(1.f)));
    o[4 * n + i] = htanh_approx(v); o[5 * n + i] = hfloor(v);
}

// f32 to integers and back, every direction and width; outputs as i64, [10][n]
extern "C" __global__ void conversions(const float* x, const double* d, long long* o, int n) {
    INDEX;
    float v = x[i];
    o[i] = __float2int_rn(v); o[n + i] = __float2int_rz(v); o[2 * n + i] = __float2int_ru(v); o[3 * n + i] = __float2int_rd(v); o[4 * n + i] = __float2uint_rz(v);
    o[5 * n + i] = __float2ll_rn(v); o[6 * n + i] = __double2ll_rz(d[i]); o[7 * n + i] = __double2int_rn(d[i]);
    signed char c; int r;
    asm("cvt.rni.sat.s8.f32 %0, %1;" : "=r"(r) : "f"(v)); c = (signed char)r; o[8 * n + i] = c;
    o[9 * n + i] = __half2short_rz(__float2half(v));
}
extern "C" __global__ void integers_to_float(const long long* x, float* f, double* d, __half* h, int n) {
    INDEX;
    f[i] = __ll2float_rn(x[i]); f[n + i] = __ll2float_rz(x[i]); f[2 * n + i] = __uint2float_ru((unsigned)x[i]); f[3 * n + i] = __int2float_rd((int)x[i]);
    d[i] = __ll2double_rn(x[i]); d[n + i] = __ull2double_rn((unsigned long long)x[i]);
    h[i] = __int2half_rn((short)x[i]);
}
