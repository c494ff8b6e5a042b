// Atomics of every kind and scope, and loops around compare-and-swap.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cstdint>
#define INDEX int i = blockIdx.x * blockDim.x + threadIdx.x; if (i >= n) return

// out[10]: add sub and or xor min max inc dec exch-count
extern "C" __global__ void atomics_u32(const unsigned* x, unsigned* out, int n) {
    INDEX;
    unsigned v = x[i];
    atomicAdd(out, v); atomicSub(out + 1, v); atomicAnd(out + 2, v); atomicOr(out + 3, v); atomicXor(out + 4, v);
    atomicMin(out + 5, v); atomicMax(out + 6, v); atomicInc(out + 7, 96); atomicDec(out + 8, 96);
    if (atomicExch(out + 9, 1) == 0) atomicAdd(out + 10, 1);
}

extern "C" __global__ void atomics_s32(const int* x, int* out, int n) { INDEX; atomicMin(out, x[i]); atomicMax(out + 1, x[i]); }

extern "C" __global__ void atomics_64(const long long* x, long long* out, unsigned long long* u, int n) {
    INDEX;
    long long v = x[i];
    atomicMin(out, v); atomicMax(out + 1, v);
    atomicAdd(u, (unsigned long long)v); atomicAnd(u + 1, (unsigned long long)v); atomicOr(u + 2, (unsigned long long)v);
    atomicXor(u + 3, (unsigned long long)v); atomicMin(u + 4, (unsigned long long)v); atomicMax(u + 5, (unsigned long long)v);
}

// Values are small integers, so that sums are exact in any order.
extern "C" __global__ void atomics_float(const float* x, float* f, double* d, __half2* h2, __half* h, __nv_bfloat162* b2, int n) {
    INDEX;
    float v = x[i];
    atomicAdd(f + (i & 3), v);
    atomicAdd(d + (i & 3), (double)v * 0.5);
    atomicAdd(h2, __floats2half2_rn(v, -v));
    atomicAdd(h, __float2half(v));
    atomicAdd(b2, __floats2bfloat162_rn(v, 1.f));
}

__device__ float atomic_max_float(float* p, float v) {
    int old = __float_as_int(*(volatile float*)p), seen;
    do {
        seen = old;
        if (__int_as_float(seen) >= v) break;
        old = atomicCAS((int*)p, seen, __float_as_int(v));
    } while (old != seen);
    return __int_as_float(old);
}
__device__ void atomic_mul_double(double* p, double v) {
    unsigned long long old = atomicAdd((unsigned long long*)p, 0ull), seen;
    do { seen = old; old = atomicCAS((unsigned long long*)p, seen, __double_as_longlong(v * __longlong_as_double(seen))); } while (old != seen);
}
__device__ void atomic_add_u16(unsigned short* p, unsigned short v) {
    unsigned short old = atomicCAS(p, (unsigned short)0, (unsigned short)0), seen;
    do { seen = old; old = atomicCAS(p, seen, (unsigned short)(seen + v)); } while (old != seen);
}
extern "C" __global__ void cas_loops(const float* x, float* mx, double* product, unsigned short* sum, int n) {
    INDEX;
    atomic_max_float(mx, x[i]);
    atomic_mul_double(product, x[i] > 0 ? 2.0 : 0.5);
    atomic_add_u16(sum, (unsigned short)(i * 7));
}

// Scopes, and results that are used: every thread gets a ticket of its own; tickets[] must come out a permutation.
extern "C" __global__ void tickets(int* global_, int* taken, int* shared_out, int n) {
    __shared__ int s;
    if (threadIdx.x == 0) s = 0;
    __syncthreads();
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    int mine = atomicAdd(global_, 1);
    int local = atomicAdd_block(&s, 1);
    atomicAdd_system(taken + mine, 1);
    __syncthreads();
    shared_out[i] = s * 1000 + (local < s);
}

extern "C" __global__ void histogram_shared(const unsigned char* x, unsigned* bins, int n) {
    __shared__ unsigned s[256];
    for (int k = threadIdx.x; k < 256; k += blockDim.x) s[k] = 0;
    __syncthreads();
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) atomicAdd(s + x[i], 1u);
    __syncthreads();
    for (int k = threadIdx.x; k < 256; k += blockDim.x) atomicAdd(bins + k, s[k]);
}

// Concurrent linked list: every thread pushes a node by exchanging the head; the host walks it.
extern "C" __global__ void push_list(int* head, int* next, int n) { INDEX; next[i] = atomicExch(head, i); }
