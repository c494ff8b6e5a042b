// Enough of CUDA C++ to run the corpus's kernels on the host: a thread is a fiber, blocks run one after another.
// Made to check references; inline PTX is not available (host.py leaves out the kernels that use it).
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>
#include <ucontext.h>
#define __global__
#define __device__
#define __constant__
#define __noinline__ __attribute__((noinline))
#define __grid_constant__
#define __shared__ static
#define __restrict__
using std::max;
using std::min;
struct uint3_ { unsigned x, y, z; };
static uint3_ threadIdx, blockIdx, blockDim, gridDim;
struct float4 { float x, y, z, w; };
inline float4 make_float4(float a, float b, float c, float d) { return {a, b, c, d}; }

struct Fiber { ucontext_t context; std::vector<char> stack; uint3_ id; bool done = false; int linear; };
static std::vector<std::unique_ptr<Fiber>> fibers;
static ucontext_t scheduler;
static int current;
static std::function<void()> body;
static std::vector<char> dyn_shared_bytes;
static void* dyn_shared;

static void yield_() { swapcontext(&fibers[current]->context, &scheduler); }
static void trampoline() { body(); fibers[current]->done = true; yield_(); }

// A barrier among the living members of a set of threads.
struct Gate { int arrived = 0; unsigned generation = 0; };
static Gate block_gate;
static std::map<std::pair<int, unsigned>, Gate> warp_gates;
template <typename Expected> static void pass(Gate& g, Expected expected) {
    unsigned mine = g.generation;
    ++g.arrived;
    while (g.generation == mine) {
        if (g.arrived >= expected()) { g.arrived = 0; ++g.generation; break; }
        yield_();
    }
}
static void block_barrier() { pass(block_gate, [] { int n = 0; for (auto& f : fibers) n += !f->done; return n; }); }
static void warp_barrier(unsigned mask) {
    int warp = current / 32;
    pass(warp_gates[{warp, mask}], [=] {
        int n = 0;
        for (int l = 0; l < 32 && warp * 32 + l < (int)fibers.size(); ++l) n += (mask >> l & 1) && !fibers[warp * 32 + l]->done;
        return n;
    });
}
inline void __syncthreads() { block_barrier(); }
inline void __syncwarp(unsigned m = ~0u) { warp_barrier(m); }
static int votes_[1024];
inline int count_(bool p) { votes_[current] = p; block_barrier(); int n = 0; for (size_t i = 0; i < fibers.size(); ++i) n += votes_[i]; block_barrier(); return n; }
inline int __syncthreads_count(bool p) { return count_(p); }
inline int __syncthreads_or(bool p) { return count_(p) > 0; }
inline int __syncthreads_and(bool p) { return count_(p) == (int)fibers.size(); }
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __nanosleep(unsigned) { yield_(); }
template <typename T> T __ldcg(const T* p) { return *p; }

static uint64_t lanes_[1024];
template <typename T> std::vector<T> gather_(unsigned m, T v) {
    memcpy(&lanes_[current], &v, sizeof v);
    warp_barrier(m);
    std::vector<T> r(32);
    for (int l = 0; l < 32; ++l) memcpy(&r[l], &lanes_[current / 32 * 32 + l], sizeof v);
    warp_barrier(m);
    return r;
}
#define LANE_ (current & 31)
template <typename T> T __shfl_sync(unsigned m, T v, int s, int w = 32) { return gather_(m, v)[(LANE_ & ~(w - 1)) | (s & (w - 1))]; }
template <typename T> T __shfl_xor_sync(unsigned m, T v, int s, int w = 32) { int j = LANE_ ^ s; auto r = gather_(m, v); return j < (LANE_ & ~(w - 1)) + w ? r[j] : v; }
template <typename T> T __shfl_up_sync(unsigned m, T v, int s, int w = 32) { int j = LANE_ - s; auto r = gather_(m, v); return j >= (LANE_ & ~(w - 1)) ? r[j] : v; }
template <typename T> T __shfl_down_sync(unsigned m, T v, int s, int w = 32) { int j = LANE_ + s; auto r = gather_(m, v); return j < (LANE_ & ~(w - 1)) + w ? r[j] : v; }
inline unsigned __ballot_sync(unsigned m, int p) { auto r = gather_(m, (int)(p != 0)); unsigned b = 0; for (int l = 0; l < 32; ++l) b |= (unsigned)(r[l] && m >> l & 1) << l; return b; }
#define REDUCE_(name, T, expr) inline T name(unsigned m, T v) { auto r = gather_(m, v); T a = r[0]; for (int l = 1; l < 32; ++l) { T b = r[l]; a = expr; } return a; }
REDUCE_(__reduce_add_sync, int, (int)((unsigned)a + (unsigned)b)) REDUCE_(__reduce_min_sync, int, min(a, b)) REDUCE_(__reduce_and_sync, int, a & b)
REDUCE_(__reduce_or_sync, int, a | b) REDUCE_(__reduce_xor_sync, int, a ^ b) REDUCE_(__reduce_max_sync, int, max(a, b)) REDUCE_(__reduce_max_sync, unsigned, max(a, b))

#define ATOMIC_(name, expr) template <typename T, typename U> T name(T* p, U u) { T a = *p, b = (T)u; *p = (T)(expr); return a; }
ATOMIC_(atomicAdd, a + b) ATOMIC_(atomicSub, a - b) ATOMIC_(atomicAnd, a & b) ATOMIC_(atomicOr, a | b) ATOMIC_(atomicXor, a ^ b) ATOMIC_(atomicMin, min(a, b))
ATOMIC_(atomicMax, max(a, b)) ATOMIC_(atomicExch, b) ATOMIC_(atomicInc, a >= b ? 0 : a + 1) ATOMIC_(atomicDec, a == 0 || a > b ? b : a - 1)
ATOMIC_(atomicAdd_block, a + b) ATOMIC_(atomicAdd_system, a + b)
template <typename T> T atomicCAS(T* p, T expect, T v) { T a = *p; if (a == expect) *p = v; return a; }
template <typename To, typename From> To bits_(From f) { To t; memcpy(&t, &f, sizeof t); return t; }
inline int __float_as_int(float f) { return bits_<int>(f); }
inline unsigned __float_as_uint(float f) { return bits_<unsigned>(f); }
inline float __int_as_float(int i) { return bits_<float>(i); }
inline unsigned long long __double_as_longlong(double d) { return bits_<unsigned long long>(d); }
inline double __longlong_as_double(unsigned long long u) { return bits_<double>(u); }
inline int __popc(unsigned v) { return __builtin_popcount(v); }
inline int __clz(unsigned v) { return v ? __builtin_clz(v) : 32; }

static void launch(const unsigned* grid, const unsigned* block, int shared, std::function<void()> f) {
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    body = f;
    dyn_shared_bytes.assign(shared + 16, 0);
    dyn_shared = dyn_shared_bytes.data();
    for (unsigned b = 0; b < grid[0] * grid[1] * grid[2]; ++b) {
        blockIdx = {b % grid[0], b / grid[0] % grid[1], b / grid[0] / grid[1]};
        fibers.clear();
        block_gate = {};
        warp_gates.clear();
        for (unsigned t = 0; t < block[0] * block[1] * block[2]; ++t) {
            fibers.emplace_back(new Fiber);
            Fiber& fb = *fibers.back();
            fb.id = {t % block[0], t / block[0] % block[1], t / block[0] / block[1]};
            fb.stack.resize(128 << 10);
            getcontext(&fb.context);
            fb.context.uc_stack.ss_sp = fb.stack.data();
            fb.context.uc_stack.ss_size = fb.stack.size();
            fb.context.uc_link = &scheduler;
            makecontext(&fb.context, trampoline, 0);
        }
        for (bool alive = true; alive;) {
            alive = false;
            for (current = 0; current < (int)fibers.size(); ++current)
                if (!fibers[current]->done) { alive = true; threadIdx = fibers[current]->id; swapcontext(&scheduler, &fibers[current]->context); }
        }
    }
}
