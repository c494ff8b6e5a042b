// Barriers, fences, locks, and blocks that wait for one another.
#include <cstdint>

// Warps 0..1 produce, 2..3 consume, through two buffers and four named barriers.
extern "C" __global__ void named_barriers(const float* x, float* y, int rounds) {
    __shared__ float buf[2][64];
    int t = threadIdx.x;
    if (t < 64) {
        for (int r = 0; r < rounds; ++r) {
            int b = r & 1;
            if (r >= 2) asm volatile("bar.sync %0, 128;" ::"r"(3 + b) : "memory");   // empty
            buf[b][t] = x[r * 64 + t] * 2.f;
            __threadfence_block();
            asm volatile("bar.arrive %0, 128;" ::"r"(1 + b) : "memory");             // full
        }
    } else {
        float s = 0;
        for (int r = 0; r < rounds; ++r) {
            int b = r & 1;
            asm volatile("bar.sync %0, 128;" ::"r"(1 + b) : "memory");
            s += buf[b][127 - t];
            __threadfence_block();
            if (r + 2 < rounds) asm volatile("bar.arrive %0, 128;" ::"r"(3 + b) : "memory");
        }
        y[t - 64] = s;
    }
}

// Two halves of the block each with a barrier of their own and different trip counts.
extern "C" __global__ void half_block_barriers(const int* x, int* y) {
    __shared__ int s[128];
    int t = threadIdx.x, half = t >> 6, u = t & 63, rounds = half ? 3 : 6;
    s[t] = x[t];
    for (int r = 0; r < rounds; ++r) {
        asm volatile("bar.sync %0, 64;" ::"r"(half + 1) : "memory");
        int v = s[half * 64 + ((u + 1) & 63)];
        asm volatile("bar.sync %0, 64;" ::"r"(half + 1) : "memory");
        s[t] = v + 1;
    }
    y[t] = s[t];
}

extern "C" __global__ void barrier_reductions(const int* x, int* out, int n) {
    int t = threadIdx.x, v = x[blockIdx.x * blockDim.x + t], i = blockIdx.x * blockDim.x + t;
    out[i] = __syncthreads_count(v > 3);
    out[n + i] = __syncthreads_and(v >= 0);
    out[2 * n + i] = __syncthreads_or(v == 9);
}

__device__ void lock(int* m) { while (atomicCAS(m, 0, 1) != 0) __nanosleep(20); __threadfence(); }
__device__ void unlock(int* m) { __threadfence(); atomicExch(m, 0); }

extern "C" __global__ void spinlock(int* mutex, int* total, int* log_) {
    if (threadIdx.x == 0) {
        lock(mutex);
        int v = *(volatile int*)total;
        *(volatile int*)total = v * 3 % 1000003 + 1;
        log_[blockIdx.x] = 1;
        unlock(mutex);
    }
}

// The last block to finish sums what the others left (threadFenceReduction).
extern "C" __global__ void last_block_sum(const float* x, volatile float* partial, float* y, unsigned* ticket, int n) {
    __shared__ float s[128];
    __shared__ bool last;
    int t = threadIdx.x, i = blockIdx.x * 128 + t;
    s[t] = i < n ? x[i] : 0.f;
    __syncthreads();
    for (int h = 64; h; h /= 2) { if (t < h) s[t] += s[t + h]; __syncthreads(); }
    if (t == 0) {
        partial[blockIdx.x] = s[0];
        __threadfence();
        last = atomicInc(ticket, gridDim.x - 1) == gridDim.x - 1;
        __threadfence();
    }
    __syncthreads();
    if (last && t == 0) {
        float a = 0;
        for (int b = 0; b < gridDim.x; ++b) a += partial[b];
        *y = a;
    }
}

// A barrier of the whole grid, by a counter; several Jacobi sweeps on a ring.
__device__ void grid_barrier(unsigned* counter, unsigned target) {
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();
        atomicAdd(counter, 1);
        unsigned seen;
        do asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(seen) : "l"(counter) : "memory"); while (seen < target);
    }
    __syncthreads();
}

extern "C" __global__ void grid_sweeps(float* a, float* b, unsigned* counter, int n, int sweeps) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    for (int s = 0; s < sweeps; ++s) {
        float* from = s & 1 ? b : a;
        float* to = s & 1 ? a : b;
        to[i] = 0.25f * __ldcg(from + (i + n - 1) % n) + 0.5f * __ldcg(from + i) + 0.25f * __ldcg(from + (i + 1) % n);
        grid_barrier(counter, (s + 1) * gridDim.x);
    }
}

// Block b waits for block b-1's flag (release/acquire), adds its own, and passes on: a chained scan (decoupled look-back's simplest form).
extern "C" __global__ void chained_scan(const int* x, int* y, int* carry, int* flag) {
    __shared__ int base;
    __shared__ int s[64];
    int t = threadIdx.x, b = blockIdx.x;
    s[t] = x[b * 64 + t];
    __syncthreads();
    for (int d = 1; d < 64; d *= 2) { int v = t >= d ? s[t - d] : 0; __syncthreads(); s[t] += v; __syncthreads(); }
    if (t == 0) {
        int f = 0;
        if (b) do asm volatile("ld.acquire.gpu.s32 %0, [%1];" : "=r"(f) : "l"(flag + b - 1) : "memory"); while (!f);
        base = b ? carry[b - 1] : 0;
        carry[b] = base + s[63];
        asm volatile("st.release.gpu.s32 [%0], %1;" ::"l"(flag + b), "r"(1) : "memory");
    }
    __syncthreads();
    y[b * 64 + t] = base + s[t];
}

// Red-black: warps exchange through volatile shared memory and __syncthreads under a uniform branch.
extern "C" __global__ void uniform_branch_barrier(const int* x, int* y, int mode) {
    __shared__ int s[96];
    int t = threadIdx.x;
    s[t] = x[t];
    if (mode & 1) { __syncthreads(); y[t] = s[95 - t]; }
    else { __syncthreads(); y[t] = s[(t + 1) % 96]; }
}

// Threads leave early; the barrier counts those that remain (whole warps exit).
extern "C" __global__ void early_exit(const int* x, int* y) {
    __shared__ int s[128];
    int t = threadIdx.x;
    if (t >= 96) return;
    s[t] = x[t];
    __syncthreads();
    y[t] = s[95 - t];
}
