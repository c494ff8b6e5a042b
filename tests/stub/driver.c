/* A driver that launches nothing and writes down every call. The environment says what GPU there is and what goes wrong:
   STUB_CAPABILITY=8.6, STUB_SIZES=8,8,4 (bytes of each kernel parameter), STUB_FAIL=cuLaunchKernel. */
#include "cuda.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct CUmod_st { uint64_t hash; };
struct CUfunc_st { struct CUmod_st *module; char name[64]; };

static CUresult done(const char *name) {
    const char *failing = getenv("STUB_FAIL");
    return failing && strcmp(failing, name) == 0 ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

/* FNV-1a, 64 bits */
static uint64_t hashed(const unsigned char *data, size_t size) {
    uint64_t h = 14695981039346656037u;
    size_t i;
    for (i = 0; i < size; i++) h = (h ^ data[i]) * 1099511628211u;
    return h;
}

/* An ELF file ends with its table of sections or of segments, whichever lies behind. */
static size_t elf_size(const unsigned char *e) {
    uint64_t segments, sections, end;
    uint16_t sizes[4];
    memcpy(&segments, e + 0x20, 8);
    memcpy(&sections, e + 0x28, 8);
    memcpy(sizes, e + 0x36, 8);  /* size and number of segments, of sections */
    segments += (uint64_t)sizes[0] * sizes[1];
    sections += (uint64_t)sizes[2] * sizes[3];
    end = segments > sections ? segments : sections;
    return (size_t)end;
}

CUresult cuCtxGetDevice(CUdevice *device) {
    *device = 3;
    return done("cuCtxGetDevice");
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
    int capability[2] = {8, 0};
    const char *text = getenv("STUB_CAPABILITY");
    if (device != 3 || attribute < 75 || attribute > 76) return CUDA_ERROR_INVALID_VALUE;
    if (text) sscanf(text, "%d.%d", &capability[0], &capability[1]);
    *value = capability[attribute - 75];
    return CUDA_SUCCESS;
}

CUresult cuModuleLoadData(CUmodule *module, const void *image) {
    if ((uintptr_t)image % 8 != 0) return CUDA_ERROR_INVALID_VALUE;
    *module = (CUmodule)malloc(sizeof **module);
    (*module)->hash = hashed((const unsigned char *)image, elf_size((const unsigned char *)image));
    printf("load %016llx\n", (unsigned long long)(*module)->hash);
    return done("cuModuleLoadData");
}

CUresult cuModuleLoad(CUmodule *module, const char *path) {
    static unsigned char data[1 << 20];
    FILE *file = fopen(path, "rb");
    size_t size;
    if (!file) return CUDA_ERROR_FILE_NOT_FOUND;
    size = fread(data, 1, sizeof data, file);
    fclose(file);
    *module = (CUmodule)malloc(sizeof **module);
    (*module)->hash = hashed(data, size);
    printf("load %016llx\n", (unsigned long long)(*module)->hash);
    return done("cuModuleLoad");
}

CUresult cuModuleUnload(CUmodule module) {
    printf("unload %016llx\n", (unsigned long long)module->hash);
    free(module);
    return CUDA_SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
    *function = (CUfunction)malloc(sizeof **function);
    (*function)->module = module;
    strncpy((*function)->name, name, 63);
    (*function)->name[63] = 0;
    return done("cuModuleGetFunction");
}

CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
    printf("attribute %s %d %d\n", function->name, (int)attribute, value);
    return done("cuFuncSetAttribute");
}

CUresult cuLaunchKernel(CUfunction function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                        CUstream stream, void **parameters, void **extra) {
    const char *sizes = getenv("STUB_SIZES");
    printf("launch %016llx %s %u %u %u %u %u %u %u %llu", (unsigned long long)function->module->hash, function->name, gx, gy, gz, bx, by, bz,
           shared, (unsigned long long)(uintptr_t)stream);
    for (; sizes && *sizes; sizes += *sizes == ',') {
        long size = strtol(sizes, (char **)&sizes, 10), i;
        printf(" ");
        for (i = 0; i < size; i++) printf("%02x", ((unsigned char *)*parameters)[i]);
        parameters++;
    }
    printf("%s\n", extra || *parameters ? " and more" : "");
    return done("cuLaunchKernel");
}

CUresult cuGetErrorString(CUresult error, const char **text) {
    *text = error == CUDA_ERROR_OUT_OF_MEMORY ? "out of memory" : NULL;
    return *text ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
