// What libraries make of it: CUB's block and warp primitives, libcu++ atomics, barriers and pipelines, cooperative groups.
#include <cooperative_groups.h>
#include <cooperative_groups/memcpy_async.h>
#include <cooperative_groups/reduce.h>
#include <cooperative_groups/scan.h>
#include <cub/cub.cuh>
#include <cuda/atomic>
#include <cuda/barrier>
namespace cg = cooperative_groups;

extern "C" __global__ void cub_radix_sort(const int* x, int* y) {
    using Sort = cub::BlockRadixSort<int, 128, 2>;
    __shared__ Sort::TempStorage temp;
    int k[2];
    cub::LoadDirectBlocked(threadIdx.x, x + blockIdx.x * 256, k);
    Sort(temp).Sort(k);
    cub::StoreDirectBlocked(threadIdx.x, y + blockIdx.x * 256, k);
}

extern "C" __global__ void cub_scan_reduce(const int* x, int* scan, int* sum) {
    using Scan = cub::BlockScan<int, 128>;
    using Reduce = cub::BlockReduce<int, 128>;
    __shared__ union { Scan::TempStorage scan; Reduce::TempStorage reduce; } temp;
    int i = blockIdx.x * 128 + threadIdx.x, v = x[i], s;
    Scan(temp.scan).ExclusiveSum(v, s);
    scan[i] = s;
    __syncthreads();
    int total = Reduce(temp.reduce).Reduce(v, ::cuda::maximum<>{});
    if (threadIdx.x == 0) sum[blockIdx.x] = total;
}

struct Less { __device__ bool operator()(float a, float b) const { return a < b; } };
extern "C" __global__ void cub_merge_sort(const float* x, float* y, int n) {
    using Sort = cub::BlockMergeSort<float, 64, 4>;
    __shared__ Sort::TempStorage temp;
    float k[4];
    cub::LoadDirectBlocked(threadIdx.x, x, k, n, 1e30f);
    Sort(temp).Sort(k, Less());
    cub::StoreDirectBlocked(threadIdx.x, y, k, n);
}

extern "C" __global__ void cub_histogram(const unsigned char* x, unsigned* bins) {
    using Histogram = cub::BlockHistogram<unsigned char, 64, 4, 256, cub::BLOCK_HISTO_ATOMIC>;
    __shared__ Histogram::TempStorage temp;
    __shared__ unsigned h[256];
    unsigned char k[4];
    cub::LoadDirectStriped<64>(threadIdx.x, x + blockIdx.x * 256, k);
    Histogram(temp).Histogram(k, h);
    __syncthreads();
    for (int b = threadIdx.x; b < 256; b += 64) atomicAdd(bins + b, h[b]);
}

extern "C" __global__ void cub_exchange_warp(const double* x, double* y, int* first) {
    using Exchange = cub::BlockExchange<double, 64, 2>;
    using Warp = cub::WarpReduce<int>;
    __shared__ Exchange::TempStorage temp;
    __shared__ Warp::TempStorage w[2];
    double v[2];
    cub::LoadDirectBlocked(threadIdx.x, x, v);
    Exchange(temp).BlockedToStriped(v);
    cub::StoreDirectBlocked(threadIdx.x, y, v);
    int m = Warp(w[threadIdx.x / 32]).Reduce(v[0] > 0 ? (int)threadIdx.x : -1, ::cuda::maximum<>{});
    if (threadIdx.x % 32 == 0) first[threadIdx.x / 32] = m;
}

// Message passing between blocks by libcu++ atomics.
extern "C" __global__ void atomic_ref_chain(int* data, int* turn, int* seen) {
    if (threadIdx.x) return;
    cuda::atomic_ref<int, cuda::thread_scope_device> t(*turn);
    while (t.load(cuda::memory_order_acquire) != (int)blockIdx.x) {}
    int v = *data;
    seen[blockIdx.x] = v;
    *data = 2 * v + 1;
    t.store(blockIdx.x + 1, cuda::memory_order_release);
}

extern "C" __global__ void atomic_ref_kinds(int* a, unsigned long long* b, float* f, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    cuda::atomic_ref<int, cuda::thread_scope_device>(a[0]).fetch_add(i, cuda::memory_order_relaxed);
    cuda::atomic_ref<int, cuda::thread_scope_device>(a[1]).fetch_max(i * 7 % 101, cuda::memory_order_acq_rel);
    cuda::atomic_ref<int, cuda::thread_scope_system>(a[2]).fetch_or(1 << (i & 15));
    cuda::atomic_ref<unsigned long long, cuda::thread_scope_device>(b[0]).fetch_xor(1ull << (i & 63), cuda::memory_order_release);
    cuda::atomic_ref<float, cuda::thread_scope_device>(f[0]).fetch_add(0.5f, cuda::memory_order_relaxed);
    cuda::atomic_thread_fence(cuda::memory_order_seq_cst, cuda::thread_scope_device);
}

extern "C" __global__ void cuda_barrier(const int* x, int* y, int rounds) {
    using Barrier = cuda::barrier<cuda::thread_scope_block>;
    __shared__ Barrier bar;
    __shared__ int s[2][64];
    int t = threadIdx.x, v = x[t];
    if (t == 0) init(&bar, 64);
    __syncthreads();
    for (int r = 0; r < rounds; ++r) {
        s[r & 1][t] = v;
        auto token = bar.arrive();
        int own = v * 3;
        bar.wait(std::move(token));
        v = own + s[r & 1][(t + 5) & 63];
    }
    y[t] = v;
}

extern "C" __global__ void cg_memcpy_async(const float* x, float* y, int tiles) {
    __shared__ __align__(16) float s[128];
    auto block = cg::this_thread_block();
    float acc = 0;
    for (int i = 0; i < tiles; ++i) {
        cg::memcpy_async(block, s, x + i * 128, sizeof(float) * 128);
        cg::wait(block);
        acc += s[127 - threadIdx.x];
        block.sync();
    }
    y[threadIdx.x] = acc;
}

extern "C" __global__ void cg_reduce_scan(const int* x, int* sum, int* scan, int* labelled) {
    auto block = cg::this_thread_block();
    auto tile = cg::tiled_partition<16>(block);
    int i = block.thread_rank(), v = x[i];
    sum[i] = cg::reduce(tile, v, cg::plus<int>());
    scan[i] = cg::inclusive_scan(tile, v);
    auto same = cg::labeled_partition(tile, v & 3);
    labelled[i] = cg::reduce(same, v, cg::greater<int>());
}
