// Eight-bit floats in hardware (sm_89 and newer).
#include <cuda_fp8.h>
extern "C" __global__ void fp8_conversions(const float2* x, unsigned short* e4, unsigned short* e5, __half2* back, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    e4[i] = __nv_cvt_float2_to_fp8x2(x[i], __NV_SATFINITE, __NV_E4M3);
    e5[i] = __nv_cvt_float2_to_fp8x2(x[i], __NV_SATFINITE, __NV_E5M2);
    back[i] = __half2(__nv_cvt_fp8x2_to_halfraw2(e4[i], __NV_E4M3));
    back[n + i] = __half2(__nv_cvt_fp8x2_to_halfraw2(e5[i], __NV_E5M2));
}
