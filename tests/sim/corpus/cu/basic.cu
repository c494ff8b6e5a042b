// Memory and addressing: vectors, structs by value, constant tables, dynamic and padded shared memory, local arrays.
#include <cstdint>

extern "C" __global__ void saxpy(int n, float a, const float* __restrict__ x, float* y) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) y[i] = a * x[i] + y[i];
}

extern "C" __global__ void saxpy_vec4(int n4, float a, const float4* __restrict__ x, float4* __restrict__ y) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n4) return;
    float4 u = x[i], v = y[i];
    y[i] = make_float4(a * u.x + v.x, a * u.y + v.y, a * u.z + v.z, a * u.w + v.w);
}

// 2D five-point stencil with a halo in shared memory; 16x16 blocks; the border is copied.
extern "C" __global__ void stencil(const float* __restrict__ x, float* __restrict__ y, int h, int w) {
    __shared__ float t[18][18];
    int gx = blockIdx.x * 16 + threadIdx.x, gy = blockIdx.y * 16 + threadIdx.y;
    int lx = threadIdx.x + 1, ly = threadIdx.y + 1;
    auto at = [&](int r, int c) { return r >= 0 && r < h && c >= 0 && c < w ? x[r * w + c] : 0.f; };
    t[ly][lx] = at(gy, gx);
    if (threadIdx.x == 0) t[ly][0] = at(gy, gx - 1);
    if (threadIdx.x == 15) t[ly][17] = at(gy, gx + 1);
    if (threadIdx.y == 0) t[0][lx] = at(gy - 1, gx);
    if (threadIdx.y == 15) t[17][lx] = at(gy + 1, gx);
    __syncthreads();
    if (gy < h && gx < w) y[gy * w + gx] = 0.5f * t[ly][lx] + 0.125f * (t[ly - 1][lx] + t[ly + 1][lx] + t[ly][lx - 1] + t[ly][lx + 1]);
}

template <int PAD> __device__ void transpose_tile(const float* x, float* y, int h, int w) {
    __shared__ float t[32][32 + PAD];
    int c = blockIdx.x * 32 + threadIdx.x, r = blockIdx.y * 32 + threadIdx.y;
    for (int k = 0; k < 32; k += 8) if (r + k < h && c < w) t[threadIdx.y + k][threadIdx.x] = x[(r + k) * w + c];
    __syncthreads();
    c = blockIdx.y * 32 + threadIdx.x; r = blockIdx.x * 32 + threadIdx.y;
    for (int k = 0; k < 32; k += 8) if (r + k < w && c < h) y[(r + k) * h + c] = t[threadIdx.x][threadIdx.y + k];
}
extern "C" __global__ void transpose_padded(const float* x, float* y, int h, int w) { transpose_tile<1>(x, y, h, w); }
extern "C" __global__ void transpose_plain(const float* x, float* y, int h, int w) { transpose_tile<0>(x, y, h, w); }

extern "C" __global__ void gather_scatter(const double* x, const int* from, const long long* to, double* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[to[i]] = x[from[i]];
}

struct Affine { float m[3][3]; float t[3]; char negate; short round; double scale; };

extern "C" __global__ void struct_param(const __grid_constant__ Affine f, const float* x, float* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    for (int r = 0; r < 3; ++r) {
        float s = f.t[r];
        for (int c = 0; c < 3; ++c) s += f.m[r][c] * x[3 * i + c];
        y[3 * i + r] = (float)((f.negate ? -s : s) * f.scale) + f.round;
    }
}

// The same with a row chosen at run time, so that the parameter is addressed dynamically.
extern "C" __global__ void struct_param_dynamic(Affine f, const int* row, float* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = f.m[row[i]][(row[i] + i) % 3] + f.t[row[i]];
}

__constant__ float polynomial[5] = {1.f, -0.5f, 0.25f, 2.f, -1.5f};
__constant__ unsigned char sbox[16] = {12, 5, 6, 11, 9, 0, 10, 13, 3, 14, 15, 8, 4, 7, 1, 2};
__device__ int counter_table[4] = {100, 200, 300, 400};

extern "C" __global__ void const_table(const float* x, const unsigned* u, float* y, unsigned* v, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float s = 0;
    for (int k = 4; k >= 0; --k) s = s * x[i] + polynomial[k];
    y[i] = s;
    unsigned w = 0;
    for (int k = 0; k < 32; k += 4) w |= (unsigned)sbox[u[i] >> k & 15] << k;
    v[i] = w + counter_table[i & 3];
}

// y[b] = sum over the block's slice, by a tree in dynamic shared memory; any power of two of threads.
extern "C" __global__ void dynamic_shared_sum(const double* x, double* y, int per_block) {
    extern __shared__ double s[];
    double a = 0;
    for (int i = threadIdx.x; i < per_block; i += blockDim.x) a += x[blockIdx.x * per_block + i];
    s[threadIdx.x] = a;
    __syncthreads();
    for (int h = blockDim.x / 2; h; h /= 2) {
        if (threadIdx.x < h) s[threadIdx.x] += s[threadIdx.x + h];
        __syncthreads();
    }
    if (threadIdx.x == 0) y[blockIdx.x] = s[0];
}

// Each thread sorts 16 keys in a local array with computed indices, and counts them modulo 7 in another.
extern "C" __global__ void local_array(const int* x, int* sorted, int* counts, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int a[16], c[7] = {0};
    for (int k = 0; k < 16; ++k) { a[k] = x[16 * i + k]; c[(unsigned)a[k] % 7u]++; }
    for (int k = 1; k < 16; ++k) {
        int v = a[k], j = k;
        for (; j > 0 && a[j - 1] > v; --j) a[j] = a[j - 1];
        a[j] = v;
    }
    for (int k = 0; k < 16; ++k) sorted[16 * i + k] = a[k];
    for (int k = 0; k < 7; ++k) counts[7 * i + k] = c[k];
}

// Bytes, halves and bit-fields; generic pointers to shared or global memory chosen at run time.
extern "C" __global__ void narrow_and_generic(const uint8_t* b, const int16_t* h, int* y, int n) {
    __shared__ int s[64];
    __shared__ int8_t sb[64];
    int t = threadIdx.x, i = blockIdx.x * 64 + t;
    s[t] = 3 * t;
    sb[t] = (int8_t)(b[i % n] - 128);
    __syncthreads();
    const int* p = (i & 1) ? s : y;
    int far = (i & 1) ? p[63 - t] : 0;
    y[i] = far + sb[(t + 1) % 64] * h[i % n] + (b[i % n] >> 3 & 5);
}

extern "C" __global__ void matmul_shared(const float* a, const float* b, float* c, int n) {
    __shared__ float sa[16][16], sb[16][16];
    int r = blockIdx.y * 16 + threadIdx.y, k = threadIdx.x, q = blockIdx.x * 16 + threadIdx.x;
    float acc = 0;
    for (int t = 0; t < n; t += 16) {
        sa[threadIdx.y][k] = a[r * n + t + k];
        sb[threadIdx.y][k] = b[(t + threadIdx.y) * n + q];
        __syncthreads();
        for (int j = 0; j < 16; ++j) acc += sa[threadIdx.y][j] * sb[j][k];
        __syncthreads();
    }
    c[r * n + q] = acc;
}
