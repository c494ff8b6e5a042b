// Warp level: shuffles, votes, matches, redux, scans, cooperative-groups tiles.
#include <cooperative_groups.h>
namespace cg = cooperative_groups;
#define ALL 0xffffffffu

extern "C" __global__ void reduce_shuffle(const float* x, float* sum, float* mx, int n) {
    __shared__ float ps[32], pm[32];
    int i = blockIdx.x * blockDim.x + threadIdx.x, lane = threadIdx.x & 31, warp = threadIdx.x >> 5, warps = blockDim.x >> 5;
    float s = i < n ? x[i] : 0.f, m = i < n ? x[i] : -1e30f;
    for (int d = 16; d; d >>= 1) { s += __shfl_xor_sync(ALL, s, d); m = fmaxf(m, __shfl_down_sync(ALL, m, d)); }
    if (lane == 0) { ps[warp] = s; pm[warp] = m; }
    __syncthreads();
    if (warp == 0) {
        s = lane < warps ? ps[lane] : 0.f; m = lane < warps ? pm[lane] : -1e30f;
        for (int d = 16; d; d >>= 1) { s += __shfl_xor_sync(ALL, s, d); m = fmaxf(m, __shfl_xor_sync(ALL, m, d)); }
        if (lane == 0) { sum[blockIdx.x] = s; mx[blockIdx.x] = m; }
    }
}

// Every kind of shuffle with a width, on 32-bit and 64-bit values; out[4][threads], wide[threads].
extern "C" __global__ void shuffles(const int* x, const long long* z, int* out, long long* wide, int n) {
    int t = threadIdx.x;
    int v = x[t];
    out[t] = __shfl_up_sync(ALL, v, 3);
    out[n + t] = __shfl_down_sync(ALL, v, 5, 8);
    out[2 * n + t] = __shfl_sync(ALL, v, t * 7 + 1, 16);
    out[3 * n + t] = __shfl_xor_sync(ALL, v, 9);
    wide[t] = __shfl_sync(ALL, z[t], 31 - (t & 31));
}

// Inclusive scan of a block of up to 1024 by warp scans.
extern "C" __global__ void scan_block(const int* x, int* y) {
    __shared__ int totals[32];
    int t = threadIdx.x, lane = t & 31, warp = t >> 5;
    int v = x[blockIdx.x * blockDim.x + t];
    for (int d = 1; d < 32; d <<= 1) { int u = __shfl_up_sync(ALL, v, d); if (lane >= d) v += u; }
    if (lane == 31) totals[warp] = v;
    __syncthreads();
    if (warp == 0) {
        int w = lane < (blockDim.x >> 5) ? totals[lane] : 0;
        for (int d = 1; d < 32; d <<= 1) { int u = __shfl_up_sync(ALL, w, d); if (lane >= d) w += u; }
        totals[lane] = w;
    }
    __syncthreads();
    y[blockIdx.x * blockDim.x + t] = v + (warp ? totals[warp - 1] : 0);
}

// out rows: ballot, any, all, match_any mask, match_all mask, match_all predicate, activemask in a branch, lanemask_lt popc
extern "C" __global__ void votes(const int* x, unsigned* out, int n) {
    int t = threadIdx.x, v = x[t];
    out[t] = __ballot_sync(ALL, v & 1);
    out[n + t] = __any_sync(ALL, v == 5);
    out[2 * n + t] = __all_sync(ALL, v >= 0);
    out[3 * n + t] = __match_any_sync(ALL, v);
    int pred;
    out[4 * n + t] = __match_all_sync(ALL, t >> 6, &pred);
    out[5 * n + t] = pred;
    unsigned m = 0;
    if (v & 2) m = __activemask();
    __syncwarp();
    out[6 * n + t] = m;
    unsigned lt;
    asm("mov.u32 %0, %%lanemask_lt;" : "=r"(lt));
    out[7 * n + t] = __popc(__ballot_sync(ALL, v & 1) & lt);
}

extern "C" __global__ void redux_all(const int* x, int* out, int n) {
    int t = threadIdx.x, v = x[t];
    out[t] = __reduce_add_sync(ALL, v);
    out[n + t] = __reduce_min_sync(ALL, v);
    out[2 * n + t] = __reduce_max_sync(ALL, v);
    out[3 * n + t] = __reduce_and_sync(ALL, v);
    out[4 * n + t] = __reduce_or_sync(ALL, v);
    out[5 * n + t] = __reduce_xor_sync(ALL, v);
    out[6 * n + t] = __reduce_max_sync(ALL, (unsigned)v);
}

// Parts of a warp act on their own: odd lanes sum among themselves, and so do even ones.
extern "C" __global__ void half_warps(const int* x, int* y) {
    int t = threadIdx.x, v = x[t];
    if (t & 1) {
        for (int d = 2; d < 32; d <<= 1) v += __shfl_xor_sync(0xaaaaaaaau, v, d);
    } else {
        for (int d = 2; d < 32; d <<= 1) v = max(v, __shfl_xor_sync(0x55555555u, v, d));
    }
    y[t] = v;
}

extern "C" __global__ void tiles(const float* x, float* y, int* rank) {
    cg::thread_block block = cg::this_thread_block();
    auto tile = cg::tiled_partition<8>(block);
    float s = x[block.thread_rank()];
    for (int d = tile.size() / 2; d; d /= 2) s += tile.shfl_down(s, d);
    s = tile.shfl(s, 0);
    y[block.thread_rank()] = s;
    if (x[block.thread_rank()] > 0) {
        auto active = cg::coalesced_threads();
        rank[block.thread_rank()] = active.thread_rank() * 100 + active.size();
    }
}

// Compaction: one atomic per warp reserves room for the lanes whose key is negative (order inside the output is free).
extern "C" __global__ void compact_negative(const int* x, int* y, unsigned* count, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, lane = threadIdx.x & 31;
    bool keep = i < n && x[i] < 0;
    unsigned m = __ballot_sync(ALL, keep);
    unsigned base = 0;
    if (lane == 0 && m) base = atomicAdd(count, __popc(m));
    base = __shfl_sync(ALL, base, 0);
    if (keep) y[base + __popc(m & ((1u << lane) - 1))] = x[i];
}

// Warp-level exchange through shared memory with __syncwarp.
extern "C" __global__ void syncwarp_exchange(const float* x, float* y) {
    __shared__ float s[128];
    int t = threadIdx.x, lane = t & 31, base = t & ~31;
    float v = x[t];
    for (int d = 1; d < 32; d <<= 1) {
        s[t] = v;
        __syncwarp();
        v += s[base + (lane ^ d)];
        __syncwarp();
    }
    y[t] = v;
}

// Eighths of a warp vote, match and reduce among themselves, all in one instruction: each lane names its own eighth.
extern "C" __global__ void subset_votes(const int* x, unsigned* out, int n) {
    int t = threadIdx.x, v = x[t];
    unsigned mine = 0xffu << (t & 24);
    out[t] = __ballot_sync(mine, v & 1);
    out[n + t] = __any_sync(mine, v == 5) * 2 + __all_sync(mine, v >= -6);
    out[2 * n + t] = __match_any_sync(mine, v);
    int pred;
    out[3 * n + t] = __match_all_sync(mine, v < 100, &pred) + pred;
    out[4 * n + t] = __reduce_max_sync(mine, v);
    out[5 * n + t] = __shfl_sync(mine, v, (t & 24) + 3);
}
