// cp.async pipelines and Ampere mbarriers.
#include <cuda_pipeline.h>
#include <cstdint>

template <int STAGES> __device__ void pipeline_sum(const float4* x, float4* y, int tiles) {
    __shared__ float4 buf[STAGES][64];
    int t = threadIdx.x;
    const float4* src = x + blockIdx.x * tiles * 64;
    for (int s = 0; s < STAGES - 1; ++s) {
        if (s < tiles) __pipeline_memcpy_async(&buf[s][t], src + s * 64 + t, 16);
        __pipeline_commit();
    }
    float4 acc = make_float4(0, 0, 0, 0);
    for (int i = 0; i < tiles; ++i) {
        __pipeline_wait_prior(STAGES - 2);
        __syncthreads();
        float4 v = buf[i % STAGES][63 - t];                 // what another thread copied
        acc.x += v.x; acc.y += 2 * v.y; acc.z += v.z; acc.w += v.w * v.w;
        int next = i + STAGES - 1;
        if (next < tiles) __pipeline_memcpy_async(&buf[next % STAGES][t], src + next * 64 + t, 16);
        __pipeline_commit();
    }
    y[blockIdx.x * 64 + t] = acc;
}
extern "C" __global__ void pipeline2(const float4* x, float4* y, int tiles) { pipeline_sum<2>(x, y, tiles); }
extern "C" __global__ void pipeline3(const float4* x, float4* y, int tiles) { pipeline_sum<3>(x, y, tiles); }
extern "C" __global__ void pipeline4(const float4* x, float4* y, int tiles) { pipeline_sum<4>(x, y, tiles); }

// 4, 8 and 16 bytes, zero fill, and wait_all; own data only, so no barrier is needed.
extern "C" __global__ void cp_async_sizes(const int* x, int4* y, int n) {
    __shared__ int4 a[64];
    __shared__ int2 b[64];
    __shared__ int c[64];
    int t = threadIdx.x;
    unsigned pa = __cvta_generic_to_shared(a + t), pb = __cvta_generic_to_shared(b + t), pc = __cvta_generic_to_shared(c + t);
    int left = max(0, min(16, 4 * (n - 4 * t)));
    const int* from = 4 * t < n ? x + 4 * t : x;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(pa), "l"(from), "r"(left) : "memory");
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8;" ::"r"(pb), "l"(x + 2 * t) : "memory");
    asm volatile("cp.async.ca.shared.global.L2::128B [%0], [%1], 4;" ::"r"(pc), "l"(x + t) : "memory");
    asm volatile("cp.async.wait_all;" ::: "memory");
    y[t] = make_int4(a[t].x + a[t].w, a[t].y, a[t].z + b[t].x, b[t].y + c[t]);
}

__device__ uint32_t addr(const void* p) { return (uint32_t)__cvta_generic_to_shared(p); }
__device__ void mbar_init(uint64_t* b, int n) { asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(addr(b)), "r"(n) : "memory"); }
__device__ uint64_t mbar_arrive(uint64_t* b) {
    uint64_t s;
    asm volatile("mbarrier.arrive.shared.b64 %0, [%1];" : "=l"(s) : "r"(addr(b)) : "memory");
    return s;
}
__device__ void mbar_wait(uint64_t* b, uint64_t token) {
    asm volatile("{\n .reg .pred p;\nWAIT:\n mbarrier.test_wait.shared.b64 p, [%0], %1;\n @p bra DONE;\n bra WAIT;\nDONE:\n}" ::"r"(addr(b)), "l"(token) : "memory");
}
__device__ void mbar_wait_parity(uint64_t* b, int parity) {
    asm volatile("{\n .reg .pred p;\nWAIT:\n mbarrier.test_wait.parity.shared.b64 p, [%0], %1;\n @p bra DONE;\n bra WAIT;\nDONE:\n}" ::"r"(addr(b)), "r"(parity) : "memory");
}

// One mbarrier in the place of __syncthreads.
extern "C" __global__ void mbarrier_block(const int* x, int* y, int rounds) {
    __shared__ int s[64];
    __shared__ uint64_t bar;
    int t = threadIdx.x;
    if (t == 0) mbar_init(&bar, 64);
    __syncthreads();
    s[t] = x[t];
    for (int r = 0; r < rounds; ++r) {
        mbar_wait(&bar, mbar_arrive(&bar));
        int v = s[(t + 1) & 63];
        mbar_wait(&bar, mbar_arrive(&bar));
        s[t] = v + 1;
    }
    y[t] = s[t];
}

// Warp 0 copies by cp.async and signals `full`; warp 1 consumes and signals `empty`: an asynchronous pipeline of two buffers.
extern "C" __global__ void mbarrier_pipeline(const int* x, int* y, int tiles) {
    __shared__ int buf[2][32];
    __shared__ uint64_t full[2], empty[2];
    int t = threadIdx.x & 31, warp = threadIdx.x >> 5;
    if (threadIdx.x == 0) for (int i = 0; i < 2; ++i) { mbar_init(full + i, 32); mbar_init(empty + i, 32); }
    __syncthreads();
    if (warp == 0) {
        for (int i = 0; i < tiles; ++i) {
            int b = i & 1, use = i >> 1;
            if (use) mbar_wait_parity(empty + b, (use - 1) & 1);
            asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(addr(&buf[b][t])), "l"(x + i * 32 + t) : "memory");
            asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(addr(full + b)) : "memory");
        }
        asm volatile("cp.async.wait_all;" ::: "memory");
    } else {
        int acc = 0;
        for (int i = 0; i < tiles; ++i) {
            int b = i & 1, use = i >> 1;
            mbar_wait_parity(full + b, use & 1);
            acc = acc * 3 + buf[b][31 - t];
            mbar_arrive(empty + b);
        }
        y[t] = acc;
    }
}
