/* cuBLASLt and cuDNN in one, for a machine that has neither: they do no work, but answer every call that dctflow makes. FAKE_LIBRARY says what
 * fails, as KEY=CODE (create, heuristic, multiply, algorithm, convolve); with a code of 10000 and more the call spoils a recording besides. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uintptr_t num_handles = 0x1000;
static unsigned alignments[4];

static int setting(const char *key) {
    const char *settings = getenv("FAKE_LIBRARY");
    size_t length = strlen(key);
    int is_set = settings != NULL && strncmp(settings, key, length) == 0 && settings[length] == '=';
    return is_set ? atoi(settings + length + 1) : 0;
}

static int driver(const char *name, void **argument) {
    int (*call)(void **) = (int (*)(void **))dlsym(dlopen("libcuda.so.1", RTLD_LAZY), name);
    return call(argument);
}

static int work(const char *key) {
    int code = setting(key);
    if (code >= 10000) {
        driver("cuCtxSynchronize", NULL);
        return code - 10000;
    }
    return code;
}

static int make(void **handle) {
    num_handles += 0x100;
    *handle = (void *)num_handles;
    return 0;
}

static int end(const char *name) {
    void *context = NULL;
    driver("cuCtxGetCurrent", &context);
    printf("%s ended %s a context\n", name, context == NULL ? "without" : "in");
    fflush(stdout);
    return 0;
}

int cublasLtCreate(void **handle) { make(handle); return setting("create"); }
int cublasLtDestroy(void *handle) { (void)handle; return end("cuBLASLt"); }
int cublasLtMatmulDescCreate(void **description, int compute, int scale) { return compute == 68 && scale == 0 ? make(description) : 7; }
int cublasLtMatmulDescDestroy(void *description) { (void)description; return 0; }
int cublasLtMatmulDescSetAttribute(void *description, int attribute, const void *value, size_t bytes) {
    (void)description; (void)value;
    return (attribute == 8) == (bytes == 8) ? 0 : 7;
}
int cublasLtMatrixLayoutCreate(void **layout, int type, uint64_t rows, uint64_t columns, int64_t pitch) {
    (void)columns;
    return type == 2 && pitch >= (int64_t)rows ? make(layout) : 7;
}
int cublasLtMatrixLayoutDestroy(void *layout) { (void)layout; return 0; }
int cublasLtMatmulPreferenceCreate(void **preference) {
    memset(alignments, 0, sizeof(alignments));
    return make(preference);
}
int cublasLtMatmulPreferenceDestroy(void *preference) { (void)preference; return 0; }
int cublasLtMatmulPreferenceSetAttribute(void *preference, int attribute, const void *value, size_t bytes) {
    (void)preference;
    if (attribute >= 5 && attribute <= 8 && bytes == 4) {
        memcpy(&alignments[attribute - 5], value, bytes);
        return 0;
    }
    return attribute == 1 && bytes == sizeof(size_t) ? 0 : 7;
}
int cublasLtMatmulAlgoGetHeuristic(void *handle, void *description, void *a, void *b, void *c, void *d, void *preference, int wanted,
                                   void *result, int *found) {
    (void)handle; (void)description; (void)a; (void)b; (void)c; (void)d; (void)preference;
    printf("aligned to %u %u %u %u\n", alignments[0], alignments[1], alignments[2], alignments[3]);
    memset(result, 0, 96);
    *found = wanted;
    return setting("heuristic");
}
int cublasLtMatmul(void *handle, void *description, const float *alpha, const void *a, void *la, const void *b, void *lb, const float *beta,
                   const void *c, void *lc, void *d, void *ld, const void *algorithm, void *workspace, size_t workspace_bytes, void *stream) {
    (void)handle; (void)description; (void)a; (void)la; (void)b; (void)lb; (void)beta; (void)c; (void)lc; (void)d; (void)ld;
    (void)algorithm; (void)stream;
    return *alpha != 1 || workspace == NULL || workspace_bytes == 0 ? 7 : work("multiply");
}

int cudnnCreate(void **handle) { make(handle); return setting("create"); }
int cudnnDestroy(void *handle) { (void)handle; return end("cuDNN"); }
int cudnnSetStream(void *handle, void *stream) { (void)handle; (void)stream; return 0; }
#define DESCRIPTOR(NAME)                                                                     \
    int cudnnCreate##NAME##Descriptor(void **descriptor) { return make(descriptor); }        \
    int cudnnDestroy##NAME##Descriptor(void *descriptor) { (void)descriptor; return 0; }
DESCRIPTOR(Tensor)
DESCRIPTOR(Filter)
DESCRIPTOR(Convolution)
DESCRIPTOR(Activation)
int cudnnSetTensor4dDescriptorEx(void *tensor, int type, int n, int c, int h, int w, int sn, int sc, int sh, int sw) {
    (void)tensor; (void)n; (void)c; (void)h; (void)w; (void)sn; (void)sh; (void)sw;
    return type == 2 && sc == 1 ? 0 : 2000;
}
int cudnnSetFilter4dDescriptor(void *filter, int type, int format, int k, int c, int h, int w) {
    (void)filter; (void)k; (void)c; (void)h; (void)w;
    return type == 2 && format == 1 ? 0 : 2000;
}
int cudnnSetConvolution2dDescriptor(void *convolution, int py, int px, int sy, int sx, int dy, int dx, int mode, int type) {
    (void)convolution; (void)py; (void)px; (void)sy; (void)sx;
    return dy == 1 && dx == 1 && mode == 1 && type == 0 ? 0 : 2000;
}
int cudnnSetConvolutionMathType(void *convolution, int type) { (void)convolution; return type == 1 ? 0 : 2000; }
int cudnnSetActivationDescriptor(void *activation, int mode, int nan, double limit) {
    (void)activation; (void)mode; (void)nan; (void)limit;
    return 0;
}
struct result { int algorithm, status; float time; size_t workspace_bytes; int determinism, math, reserved[3]; };
int cudnnGetConvolutionForwardAlgorithm_v7(void *handle, void *x, void *w, void *convolution, void *y, int wanted, int *found,
                                           struct result *results) {
    (void)handle; (void)x; (void)w; (void)convolution; (void)y; (void)wanted;
    memset(results, 0, sizeof(*results));
    results->algorithm = results->math = 1;
    *found = 1;
    return setting("algorithm");
}
int cudnnConvolutionBiasActivationForward(void *handle, const float *one, void *xd, const void *x, void *wd, const void *w, void *convolution,
                                          int algorithm, void *workspace, size_t workspace_bytes, const float *factor, void *zd,
                                          const void *z, void *bd, const void *bias, void *activation, void *yd, void *y) {
    (void)handle; (void)xd; (void)x; (void)wd; (void)w; (void)convolution; (void)workspace; (void)workspace_bytes; (void)factor; (void)zd;
    (void)z; (void)bd; (void)activation; (void)yd; (void)y;
    return *one != 1 || algorithm != 1 || bias == NULL ? 2000 : work("convolve");
}
