// Kernels that are wrong on purpose; each line marked BUG is what a checker must find.
#include <cuda_pipeline.h>
#include <cassert>
#include <cstdint>
#define ALL 0xffffffffu
__device__ uint32_t addr(const void* p) { return (uint32_t)__cvta_generic_to_shared(p); }

extern "C" __global__ void missing_syncthreads(const int* x, int* y) {
    __shared__ int s[128];
    int t = threadIdx.x;
    s[t] = x[t];                                   // BUG: no barrier between this and the read of another warp's element
    y[t] = s[127 - t];
}

extern "C" __global__ void missing_second_barrier(const int* x, int* y, int rounds) {
    __shared__ int s[128];
    int t = threadIdx.x, v = x[t];
    for (int r = 0; r < rounds; ++r) {
        s[t] = v;                                  // BUG: overwrites what a slower warp still reads (a barrier is missing at the loop's end)
        __syncthreads();
        v = s[(t + 33) & 127] + 1;
    }
    y[t] = v;
}

extern "C" __global__ void write_write(const int* x, int* y) {
    __shared__ int s[4];
    int t = threadIdx.x;
    s[t >> 6] = x[t];                              // BUG: two warps write different values to one word
    __syncthreads();
    y[t] = s[t >> 6];
}

extern "C" __global__ void missing_syncwarp(const int* x, int* y) {
    __shared__ int s[32];
    int t = threadIdx.x;
    s[t] = x[t];                                   // BUG: lanes of one warp exchange without __syncwarp
    y[t] = s[31 - t];
}

extern "C" __global__ void global_read_out_of_bounds(const int* x, int* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = x[i + 1];                    // BUG: reads x[n]
}
extern "C" __global__ void global_write_out_of_bounds(const int* x, int* y) {
    int i = blockIdx.x * blockDim.x + threadIdx.x; // BUG: no comparison with n
    y[i] = x[0];
}
extern "C" __global__ void null_pointer(const int* x, int* y) { y[threadIdx.x] = *(const volatile int*)(threadIdx.x == 5 ? nullptr : x); }  // BUG

extern "C" __global__ void shared_out_of_bounds(const int* x, int* y) {
    extern __shared__ int d[];
    int t = threadIdx.x;
    d[t + 1] = x[t];                               // BUG: the last thread writes one past the end
    __syncthreads();
    y[t] = d[t ? t : 1];
}

extern "C" __global__ void misaligned_vector(const float* x, float4* y) {
    y[threadIdx.x] = *(const float4*)(x + 4 * threadIdx.x + 1);      // BUG: address is 4 modulo 16
}

extern "C" __global__ void uninitialized_shared(const int* x, int* y) {
    __shared__ int s[128];
    int t = threadIdx.x;
    if (t != 77) s[t] = x[t];                      // BUG: s[77] is never written
    __syncthreads();
    y[t] = s[127 - t];
}

extern "C" __global__ void uninitialized_register(const int* x, int* y) {
    int v;
    asm volatile("{\n .reg .pred p;\n .reg .b32 u;\n setp.gt.s32 p, %1, 0;\n @p mov.b32 u, 5;\n mov.b32 %0, u;\n}" : "=r"(v) : "r"(x[threadIdx.x]));
    y[threadIdx.x] = v;                            // BUG: undefined where x <= 0
}

extern "C" __global__ void uninitialized_address(const int* x, int* y) {
    int v = x[threadIdx.x], r;
    asm volatile("{\n .reg .b32 u;\n .reg .pred p;\n setp.lt.s32 p, u, %1;\n selp.b32 %0, 1, 2, p;\n @p bra L;\n add.s32 %0, %0, 1;\nL:\n}" : "=r"(r) : "r"(v));
    y[threadIdx.x] = r;                            // BUG: branches on an undefined register
}

extern "C" __global__ void missing_async_wait(const int* x, int* y) {
    __shared__ __align__(16) int s[256];
    int t = threadIdx.x;
    __pipeline_memcpy_async(s + 4 * t, x + 4 * t, 16);
    __pipeline_commit();                           // BUG: committed but not waited for
    y[t] = s[4 * t];
}

// Waits for one group too few.
extern "C" __global__ void short_async_wait(const int4* x, int4* y, int tiles) {
    __shared__ int4 s[3][64];
    int t = threadIdx.x, acc = 0;
    for (int i = 0; i < 2; ++i) { __pipeline_memcpy_async(&s[i][t], x + i * 64 + t, 16); __pipeline_commit(); }
    for (int i = 0; i < tiles; ++i) {
        __pipeline_wait_prior(2);                  // BUG: must be 1
        __syncthreads();
        acc += s[i % 3][63 - t].x;
        if (i + 2 < tiles) __pipeline_memcpy_async(&s[(i + 2) % 3][t], x + (i + 2) * 64 + t, 16);
        __pipeline_commit();
    }
    y[t] = make_int4(acc, 0, 0, 0);
}

extern "C" __global__ void async_wait_without_barrier(const int* x, int* y) {
    __shared__ int s[128];
    int t = threadIdx.x;
    __pipeline_memcpy_async(s + t, x + t, 4);
    __pipeline_commit();
    __pipeline_wait_prior(0);                      // BUG: shows this thread its own copy only
    y[t] = s[127 - t];
}

extern "C" __global__ void divergent_barrier(const int* x, int* y) {
    __shared__ int s[64];
    int t = threadIdx.x;
    s[t] = x[t];
    if (t < 40) {
        __syncthreads();                           // BUG: most of warp 1 does not come here, but to the barrier below
        s[t] += 1;
    }
    __syncthreads();
    y[t] = s[63 - t];
}

extern "C" __global__ void barrier_never_filled(const int* x, int* y) {
    int t = threadIdx.x;
    if (t < 64) asm volatile("bar.sync 1, 96;" ::: "memory");   // BUG: 64 threads come, 96 are counted: a deadlock
    y[t] = x[t];
}

extern "C" __global__ void mbarrier_never_completed(const int* x, int* y) {
    __shared__ uint64_t bar;
    int t = threadIdx.x;
    if (t == 0) asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(addr(&bar)), "r"(65) : "memory");
    __syncthreads();
    uint64_t token;
    asm volatile("mbarrier.arrive.shared.b64 %0, [%1];" : "=l"(token) : "r"(addr(&bar)) : "memory");   // BUG: 64 of 65
    asm volatile("{\n .reg .pred p;\nW:\n mbarrier.test_wait.shared.b64 p, [%0], %1;\n @p bra D;\n bra W;\nD:\n}" ::"r"(addr(&bar)), "l"(token) : "memory");
    y[t] = x[t];
}

// mbarrier initialized, but other threads use it before they can know that.
extern "C" __global__ void mbarrier_init_race(const int* x, int* y) {
    __shared__ uint64_t bar;
    int t = threadIdx.x;
    if (t == 0) asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(addr(&bar)), "r"(64) : "memory");
    uint64_t token;                                // BUG: no barrier after init
    asm volatile("mbarrier.arrive.shared.b64 %0, [%1];" : "=l"(token) : "r"(addr(&bar)) : "memory");
    y[t] = x[t];
}

extern "C" __global__ void shuffle_inactive(const int* x, int* y) {
    int t = threadIdx.x, v = x[t];
    if (t < 16) v = __shfl_down_sync(0x0000ffffu, v, 8, 32);    // BUG: lanes 8..15 read lanes 16..23, which are not there
    y[t] = v;
}

extern "C" __global__ void shuffle_mask_lies(const int* x, int* y) {
    int t = threadIdx.x, v = x[t];
    if (t & 1) v += __shfl_xor_sync(0x0000aaaau, v, 2);         // BUG: lanes 17, 19... execute it but are not in the mask
    y[t] = v;
}

extern "C" __global__ void global_race(const int* x, int* total) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (threadIdx.x == 0) *total = *total + x[i];               // BUG: blocks update one word without atomics
}

extern "C" __global__ void mixed_atomic_and_plain(int* total, int* y) {
    atomicAdd(total, 1);
    if (threadIdx.x == 0) y[blockIdx.x] = *total;               // BUG: a plain read while other blocks still add
}

// The flag is set before the data are written.
extern "C" __global__ void flag_before_data(const int* x, int* data, int* flag, int* y) {
    int t = threadIdx.x;
    if (blockIdx.x == 0) {
        if (t == 0) asm volatile("st.release.gpu.s32 [%0], 1;" ::"l"(flag) : "memory");
        data[t] = x[t];                                         // BUG: after the release
    } else {
        if (t == 0) { int f; do asm volatile("ld.acquire.gpu.s32 %0, [%1];" : "=r"(f) : "l"(flag) : "memory"); while (!f); }
        __syncthreads();
        y[t] = data[t];
    }
}

// The flag is right, but nothing orders the other threads' stores before it.
extern "C" __global__ void release_without_barrier(const int* x, int* data, int* flag, int* y) {
    int t = threadIdx.x;
    if (blockIdx.x == 0) {
        data[t] = x[t];                                         // BUG: no __syncthreads before thread 0's release
        if (t == 0) asm volatile("st.release.gpu.s32 [%0], 1;" ::"l"(flag) : "memory");
    } else {
        if (t == 0) { int f; do asm volatile("ld.acquire.gpu.s32 %0, [%1];" : "=r"(f) : "l"(flag) : "memory"); while (!f); }
        __syncthreads();
        y[t] = data[t];
    }
}

// A message passed by relaxed accesses, with no fence.
extern "C" __global__ void relaxed_flag(const int* x, int* data, int* flag, int* y) {
    if (blockIdx.x == 0) {
        if (threadIdx.x == 0) { *data = x[0]; asm volatile("st.relaxed.gpu.s32 [%0], 1;" ::"l"(flag) : "memory"); }          // BUG: relaxed
    } else if (threadIdx.x == 0) {
        int f;
        do asm volatile("ld.relaxed.gpu.s32 %0, [%1];" : "=r"(f) : "l"(flag) : "memory"); while (!f);
        *y = *data;
    }
}

// A lock that is released by a plain relaxed exchange before the data are written back.
extern "C" __global__ void unlock_too_early(int* mutex, int* total) {
    if (threadIdx.x == 0) {
        while (atomicCAS(mutex, 0, 1) != 0) {}
        __threadfence();
        int v = *total;
        __threadfence();
        atomicExch(mutex, 0);
        *total = v + 1;                                         // BUG: after the unlock
    }
}

// Two blocks, each waiting for the other's flag before setting its own.
extern "C" __global__ void circular_wait(int* flag, int* y) {
    if (threadIdx.x == 0) {
        int f;
        do asm volatile("ld.acquire.gpu.s32 %0, [%1];" : "=r"(f) : "l"(flag + 1 - blockIdx.x) : "memory"); while (!f);      // BUG: nobody starts
        asm volatile("st.release.gpu.s32 [%0], 1;" ::"l"(flag + blockIdx.x) : "memory");
        y[blockIdx.x] = 1;
    }
}

extern "C" __global__ void ldmatrix_misaligned(const int4* x, uint32_t* y) {
    __shared__ __align__(16) int4 s[17];
    int t = threadIdx.x;
    if (t < 17) s[t] = x[t];
    __syncwarp();
    uint32_t r;
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(r) : "r"(addr((char*)s + (t & 7) * 16 + 8)));  // BUG: rows start at 8 modulo 16
    y[t] = r;
}

extern "C" __global__ void local_out_of_bounds(const int* x, int* y) {
    int a[4], t = threadIdx.x;
    for (int k = 0; k < 4; ++k) a[k] = x[4 * t + k];
    y[t] = a[x[4 * t] & 1023];                                  // BUG: an index up to 1023
}

extern "C" __global__ void failed_assertion(const int* x, int* y) {
    int t = threadIdx.x;
    assert(x[t] > 0);                                           // BUG: not so for element 9
    y[t] = x[t];
}

// The sum of all blocks by the last one, without the fence between a block's result and its ticket.
extern "C" __global__ void ticket_without_fence(const int* x, int* partial, unsigned* ticket, int* y) {
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = x[blockIdx.x];                    // BUG: no __threadfence before the ticket
        if (atomicAdd(ticket, 1u) == gridDim.x - 1) {
            int s = 0;
            for (int b = 0; b < gridDim.x; ++b) s += partial[b];
            *y = s;
        }
    }
}

// The next copy may land while slower warps still read the buffer.
extern "C" __global__ void async_overwrites_readers(const int4* x, int* y, int tiles) {
    __shared__ int4 s[64];
    int t = threadIdx.x, acc = 0;
    for (int i = 0; i < tiles; ++i) {
        __pipeline_memcpy_async(&s[t], x + i * 64 + t, 16);     // BUG: no barrier after the reads of the round before
        __pipeline_commit();
        __pipeline_wait_prior(0);
        __syncthreads();
        acc += s[63 - t].x;
    }
    y[t] = acc;
}

// A producer that does not wait for the consumers: buffer 0 is written again while it may still be read.
extern "C" __global__ void producer_does_not_wait(const int* x, int* y, int rounds) {
    __shared__ int buf[2][32];
    int t = threadIdx.x & 31, acc = 0;
    for (int r = 0; r < rounds; ++r) {
        if (threadIdx.x < 32) {
            buf[r & 1][t] = x[r * 32 + t];                      // BUG: only `full` is signalled, never `empty`
            __threadfence_block();
            asm volatile("bar.arrive %0, 64;" ::"r"(1 + (r & 1)) : "memory");
        } else {
            asm volatile("bar.sync %0, 64;" ::"r"(1 + (r & 1)) : "memory");
            acc += buf[r & 1][31 - t];
        }
    }
    if (threadIdx.x >= 32) y[t] = acc;
}

extern "C" __global__ void uninitialized_counter(int* y) {
    __shared__ int n;
    atomicAdd(&n, 1);                                           // BUG: nobody set n to zero
    __syncthreads();
    y[threadIdx.x] = n;
}

// A grid barrier whose counter is read by a plain volatile load: the data behind it are not acquired.
extern "C" __global__ void grid_barrier_without_acquire(int* data, unsigned* counter, int* y) {
    if (threadIdx.x == 0) {
        data[blockIdx.x] = blockIdx.x + 5;
        atomicAdd(counter, 1u);                                 // BUG: relaxed, and nothing before or behind it is a fence
        while (*(volatile unsigned*)counter < gridDim.x) {}
        y[blockIdx.x] = data[(blockIdx.x + 1) % gridDim.x];
    }
}
