// Sorting and selecting in a block.
extern "C" __global__ void bitonic_sort(unsigned* x) {          // one block sorts 2 * blockDim.x keys
    extern __shared__ unsigned s[];
    int n = 2 * blockDim.x, t = threadIdx.x;
    unsigned* base = x + blockIdx.x * n;
    s[t] = base[t]; s[t + blockDim.x] = base[t + blockDim.x];
    for (int size = 2; size <= n; size <<= 1)
        for (int d = size / 2; d; d >>= 1) {
            __syncthreads();
            int p = 2 * t - (t & (d - 1));
            bool up = (p & size) == 0;
            unsigned a = s[p], b = s[p + d];
            if ((a > b) == up) { s[p] = b; s[p + d] = a; }
        }
    __syncthreads();
    base[t] = s[t]; base[t + blockDim.x] = s[t + blockDim.x];
}

// Least-significant-digit radix sort, one bit at a time, 256 keys a block.
extern "C" __global__ void radix_sort(unsigned* x, int bits) {
    __shared__ unsigned keys[256];
    __shared__ int counts[8];
    int t = threadIdx.x, lane = t & 31, warp = t >> 5;
    unsigned k = x[blockIdx.x * 256 + t];
    for (int b = 0; b < bits; ++b) {
        unsigned one = k >> b & 1, m = __ballot_sync(~0u, !one);
        if (lane == 0) counts[warp] = __popc(m);
        __syncthreads();
        int zeros = 0, before = 0;
        for (int w = 0; w < 8; ++w) { if (w < warp) before += counts[w]; zeros += counts[w]; }
        before += __popc(m & ((1u << lane) - 1));
        keys[one ? zeros + t - before : before] = k;
        __syncthreads();
        k = keys[t];
        __syncthreads();
    }
    x[blockIdx.x * 256 + t] = k;
}

// The 4 largest of 512 with their places, by repeated block-wide argmax on packed (value, index) keys.
extern "C" __global__ void top4(const float* x, float* value, int* place) {
    __shared__ float s[512];
    __shared__ unsigned long long best;
    int t = threadIdx.x;
    for (int k = t; k < 512; k += blockDim.x) s[k] = x[blockIdx.x * 512 + k];
    for (int r = 0; r < 4; ++r) {
        if (t == 0) best = 0;
        __syncthreads();
        for (int k = t; k < 512; k += blockDim.x) {
            unsigned u = __float_as_uint(s[k]);
            u = u & 0x80000000u ? ~u : u | 0x80000000u;
            atomicMax(&best, (unsigned long long)u << 32 | (511 - k));
        }
        __syncthreads();
        int k = 511 - (int)(best & 0xffffffffu);
        if (t == 0) { value[blockIdx.x * 4 + r] = s[k]; place[blockIdx.x * 4 + r] = k; s[k] = -INFINITY; }
        __syncthreads();
    }
}
