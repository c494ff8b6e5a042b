// Tensor cores by wmma and by inline PTX; every matrix is row-major in global memory unless said otherwise.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <mma.h>
#include <cstdint>
using namespace nvcuda;

template <typename T, typename ACC, int K, typename FRAG = T>
__device__ void wmma_product(const T* a, const T* b, ACC* c, int k) {
    wmma::fragment<wmma::matrix_a, 16, 16, K, FRAG, wmma::row_major> fa;
    wmma::fragment<wmma::matrix_b, 16, 16, K, FRAG, wmma::row_major> fb;
    wmma::fragment<wmma::accumulator, 16, 16, K, ACC> fc;
    wmma::fill_fragment(fc, (ACC)0);
    int n = gridDim.x * 16, r = blockIdx.y * 16, q = blockIdx.x * 16;
    for (int i = 0; i < k; i += K) {
        wmma::load_matrix_sync(fa, a + r * k + i, k);
        wmma::load_matrix_sync(fb, b + i * n + q, n);
        wmma::mma_sync(fc, fa, fb, fc);
    }
    wmma::store_matrix_sync(c + r * n + q, fc, n, wmma::mem_row_major);
}
extern "C" __global__ void wmma_f16(const half* a, const half* b, float* c, int k) { wmma_product<half, float, 16>(a, b, c, k); }
extern "C" __global__ void wmma_f16_acc16(const half* a, const half* b, half* c, int k) { wmma_product<half, half, 16>(a, b, c, k); }
extern "C" __global__ void wmma_bf16(const __nv_bfloat16* a, const __nv_bfloat16* b, float* c, int k) { wmma_product<__nv_bfloat16, float, 16>(a, b, c, k); }
extern "C" __global__ void wmma_s8(const signed char* a, const signed char* b, int* c, int k) { wmma_product<signed char, int, 16>(a, b, c, k); }
extern "C" __global__ void wmma_u8(const unsigned char* a, const unsigned char* b, int* c, int k) { wmma_product<unsigned char, int, 16>(a, b, c, k); }

// 32x8x16 with column-major operands, scaled in registers, and a stored C transposed.
extern "C" __global__ void wmma_m32n8_col(const half* a, const half* b, float* c) {
    wmma::fragment<wmma::matrix_a, 32, 8, 16, half, wmma::col_major> fa;
    wmma::fragment<wmma::matrix_b, 32, 8, 16, half, wmma::col_major> fb;
    wmma::fragment<wmma::accumulator, 32, 8, 16, float> fc;
    wmma::load_matrix_sync(fc, c, 8, wmma::mem_row_major);
    wmma::load_matrix_sync(fa, a, 32);
    wmma::load_matrix_sync(fb, b, 16);
    wmma::mma_sync(fc, fa, fb, fc);
    for (int i = 0; i < fc.num_elements; ++i) fc.x[i] = 0.5f * fc.x[i] + 1.f;
    wmma::store_matrix_sync(c + 256, fc, 32, wmma::mem_col_major);
}

extern "C" __global__ void wmma_tf32(const float* a, const float* b, float* c) {
    wmma::fragment<wmma::matrix_a, 16, 16, 8, wmma::precision::tf32, wmma::row_major> fa;
    wmma::fragment<wmma::matrix_b, 16, 16, 8, wmma::precision::tf32, wmma::col_major> fb;
    wmma::fragment<wmma::accumulator, 16, 16, 8, float> fc;
    wmma::fill_fragment(fc, 0.f);
    wmma::load_matrix_sync(fa, a, 8);
    wmma::load_matrix_sync(fb, b, 8);
    for (int i = 0; i < fa.num_elements; ++i) fa.x[i] = wmma::__float_to_tf32(fa.x[i]);
    for (int i = 0; i < fb.num_elements; ++i) fb.x[i] = wmma::__float_to_tf32(fb.x[i]);
    wmma::mma_sync(fc, fa, fb, fc);
    wmma::store_matrix_sync(c, fc, 16, wmma::mem_row_major);
}

extern "C" __global__ void wmma_f64(const double* a, const double* b, double* c) {
    wmma::fragment<wmma::matrix_a, 8, 8, 4, double, wmma::row_major> fa;
    wmma::fragment<wmma::matrix_b, 8, 8, 4, double, wmma::col_major> fb;
    wmma::fragment<wmma::accumulator, 8, 8, 4, double> fc;
    wmma::load_matrix_sync(fc, c, 8, wmma::mem_row_major);
    wmma::load_matrix_sync(fa, a, 4);
    wmma::load_matrix_sync(fb, b, 4);
    wmma::mma_sync(fc, fa, fb, fc);
    wmma::store_matrix_sync(c, fc, 8, wmma::mem_row_major);
}

__device__ uint32_t saddr(const void* p) { return (uint32_t)__cvta_generic_to_shared(p); }

// ldmatrix x1, x2, x4 and .trans of a 16x16 f16 tile: the raw registers, [14][32] u32.
extern "C" __global__ void ldmatrix_all(const uint4* x, uint32_t* out) {
    __shared__ __align__(16) uint4 s[32];
    int t = threadIdx.x;
    s[t] = x[t];
    __syncthreads();
    const char* row = (const char*)s + (t % 16) * 32 + (t / 16) * 16;    // lanes 0-15: left half, 16-31: right half
    uint32_t r[4];
    int o = t;
#define PUT(n) for (int i = 0; i < n; ++i) { out[o] = r[i]; o += 32; }
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(saddr(row))); PUT(1)
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(saddr(row))); PUT(2)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(saddr(row))); PUT(4)
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(saddr(row))); PUT(1)
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(saddr(row))); PUT(2)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(saddr(row))); PUT(4)
}

extern "C" __global__ void movmatrix_transpose(const uint32_t* x, uint32_t* y) {
    uint32_t r;
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(r) : "r"(x[threadIdx.x]));
    y[threadIdx.x] = r;
}

// C[16,8] = A[16,K] B[K,8] by one mma; A row-major, B given as [8,K] (column-major), words of 32 bits. g = lane/4, t = lane%4.
#define LANES int g = threadIdx.x / 4, t = threadIdx.x % 4
#define STORE_C for (int i = 0; i < 4; ++i) c[(g + 8 * (i >> 1)) * 8 + 2 * t + (i & 1)] = d[i]
#define LOAD_A4(words) uint32_t a0 = a[g * words + t], a1 = a[(g + 8) * words + t], a2 = a[g * words + t + 4], a3 = a[(g + 8) * words + t + 4]
#define LOAD_B2(words) uint32_t b0 = b[g * words + t], b1 = b[g * words + t + 4]
#define MMA_I(name, shape, types, extra)                                                                                      \
    extern "C" __global__ void name(const uint32_t* a, const uint32_t* b, int* c) {                                          \
        LANES; LOAD_A4(8); LOAD_B2(8);                                                                                        \
        int d[4] = {1, 2, 3, 4};                                                                                              \
        asm volatile("mma.sync.aligned." shape ".row.col" extra "." types " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};" \
                     : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3]) : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1)); \
        STORE_C;                                                                                                              \
    }
MMA_I(mma_s8, "m16n8k32", "s32.s8.s8.s32", "")
MMA_I(mma_u8_satfinite, "m16n8k32", "s32.u8.u8.s32", ".satfinite")
MMA_I(mma_s8u8, "m16n8k32", "s32.s8.u8.s32", "")
MMA_I(mma_s4, "m16n8k64", "s32.s4.s4.s32", "")
MMA_I(mma_u4, "m16n8k64", "s32.u4.u4.s32", "")
MMA_I(mma_b1_xor, "m16n8k256", "s32.b1.b1.s32.xor.popc", "")
MMA_I(mma_b1_and, "m16n8k256", "s32.b1.b1.s32.and.popc", "")

#define MMA_F(name, shape, types)                                                                                             \
    extern "C" __global__ void name(const uint32_t* a, const uint32_t* b, float* c) {                                        \
        LANES; LOAD_A4(8); LOAD_B2(8);                                                                                        \
        float d[4] = {1, 2, 3, 4};                                                                                            \
        asm volatile("mma.sync.aligned." shape ".row.col." types " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"    \
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1)); \
        STORE_C;                                                                                                              \
    }
MMA_F(mma_f16, "m16n8k16", "f32.f16.f16.f32")
MMA_F(mma_bf16, "m16n8k16", "f32.bf16.bf16.f32")
MMA_F(mma_tf32, "m16n8k8", "f32.tf32.tf32.f32")

// m16n8k8 f16: A has two registers, B one; half the words of a row.
extern "C" __global__ void mma_f16_k8(const uint32_t* a, const uint32_t* b, float* c) {
    LANES;
    float d[4] = {0, 0, 0, 0};
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[g * 4 + t]), "r"(a[(g + 8) * 4 + t]), "r"(b[g * 4 + t]));
    STORE_C;
}

extern "C" __global__ void mma_f16_acc16(const uint32_t* a, const uint32_t* b, uint32_t* c) {
    LANES; LOAD_A4(8); LOAD_B2(8);
    uint32_t d0 = 0, d1 = 0;
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {%0,%1}, {%2,%3,%4,%5}, {%6,%7}, {%0,%1};"
                 : "+r"(d0), "+r"(d1) : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
    c[g * 4 + t] = d0;
    c[(g + 8) * 4 + t] = d1;
}

// Sparse: A is 16x32 with two of every four kept: values [16][16] f16, choice of positions per thread in `meta`; B [8][32] f16 (column-major).
// Selector 0 or 1 says which pair of threads of each quad supplies the metadata.
#define MMA_SP(name, selector)                                                                                                \
    extern "C" __global__ void name(const uint32_t* a, const uint32_t* b, const uint32_t* meta, float* c) {                  \
        LANES; LOAD_A4(8);                                                                                                    \
        const uint32_t* q = b + g * 16 + t;                                                                                   \
        float d[4] = {0, 0, 0, 0};                                                                                            \
        asm volatile("mma.sp.sync.aligned.m16n8k32.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9,%10,%11}, {%0,%1,%2,%3}, %12, " selector ";" \
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                                         \
                     : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(q[0]), "r"(q[4]), "r"(q[8]), "r"(q[12]), "r"(meta[threadIdx.x])); \
        STORE_C;                                                                                                              \
    }
MMA_SP(mma_sp_f16_0, "0x0")
MMA_SP(mma_sp_f16_1, "0x1")

// A 64x64 product by ldmatrix and mma from padded shared memory; one block of 4 warps, each 16 rows; B is [K,N] row-major, read by .trans.
extern "C" __global__ void mma_ldmatrix_gemm(const half* a, const half* b, float* c, int k) {
    __shared__ __align__(16) half sa[64][24], sb[16][72];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
    float d[8][4] = {};
    for (int k0 = 0; k0 < k; k0 += 16) {
        *(uint4*)&sa[threadIdx.x / 2][threadIdx.x % 2 * 8] = *(const uint4*)(a + (threadIdx.x / 2) * k + k0 + threadIdx.x % 2 * 8);
        *(uint4*)&sb[threadIdx.x / 8][threadIdx.x % 8 * 8] = *(const uint4*)(b + (k0 + threadIdx.x / 8) * 64 + threadIdx.x % 8 * 8);
        __syncthreads();
        uint32_t fa[4], fb[2];
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(fa[0]), "=r"(fa[1]), "=r"(fa[2]), "=r"(fa[3])
                     : "r"(saddr(&sa[warp * 16 + lane % 16][lane / 16 * 8])));
#pragma unroll
        for (int j = 0; j < 8; ++j) {
            asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];" : "=r"(fb[0]), "=r"(fb[1]) : "r"(saddr(&sb[lane % 16][j * 8])));
            asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                         : "+f"(d[j][0]), "+f"(d[j][1]), "+f"(d[j][2]), "+f"(d[j][3])
                         : "r"(fa[0]), "r"(fa[1]), "r"(fa[2]), "r"(fa[3]), "r"(fb[0]), "r"(fb[1]));
        }
        __syncthreads();
    }
    for (int j = 0; j < 8; ++j)
        for (int i = 0; i < 4; ++i) c[(warp * 16 + g + 8 * (i >> 1)) * 64 + j * 8 + 2 * t + (i & 1)] = d[j][i];
}
