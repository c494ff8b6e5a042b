// Semaphores of libcu++ between blocks, coalesced groups, radix sort by ballots, and a stack of local memory.
#include <cooperative_groups.h>
#include <cuda/atomic>
namespace cg = cooperative_groups;

// data[blocks], flag, out: block 0 waits for the others, adds up, and resets the flag
extern "C" __global__ void semaphore(int* data, int* flag, int* out) {
    cuda::atomic_ref<int, cuda::thread_scope_device> ready(*flag);
    if (threadIdx.x) return;
    if (blockIdx.x) {
        data[blockIdx.x] = blockIdx.x * 7;
        ready.fetch_add(1, cuda::memory_order_release);
        return;
    }
    while (ready.load(cuda::memory_order_acquire) != (int)gridDim.x - 1) __nanosleep(20);
    int sum = 0;
    for (int i = 1; i < (int)gridDim.x; i++) sum += data[i];
    *out = sum;
    *flag = 0;
}

// places[] gets the indices of the positive x, in any order
extern "C" __global__ void compact(const int* x, int* count, int* places, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n && x[i] > 0) {
        auto group = cg::coalesced_threads();
        int first;
        if (group.thread_rank() == 0) first = atomicAdd(count, group.size());
        places[group.shfl(first, 0) + group.thread_rank()] = i;
    }
}

// one block of 256
extern "C" __global__ void radix_sort(unsigned* keys) {
    __shared__ unsigned s[256];
    __shared__ int ones[8];
    int t = threadIdx.x;
    s[t] = keys[t];
    for (int bit = 0; bit < 32; bit++) {
        __syncthreads();
        unsigned key = s[t];
        bool one = key >> bit & 1;
        int zeros = __syncthreads_count(!one);
        unsigned votes = __ballot_sync(~0u, !one);
        if (t % 32 == 0) ones[t / 32] = __popc(votes);
        __syncthreads();
        int before = __popc(votes & ((1u << t % 32) - 1));
        for (int w = 0; w < t / 32; w++) before += ones[w];
        s[one ? zeros + t - before : before] = key;
    }
    __syncthreads();
    keys[t] = s[t];
}

// y[t] = x sorted by x ^ t
extern "C" __global__ void insertion_sort(const int* x, int* y) {
    int s[32], t = threadIdx.x;
    for (int i = 0; i < 32; i++) {
        int v = x[i], j = i - 1;
        while (j >= 0 && (s[j] ^ t) > (v ^ t)) { s[j + 1] = s[j]; j--; }
        s[j + 1] = v;
    }
    for (int i = 0; i < 32; i++) y[t * 32 + i] = s[i];
}
