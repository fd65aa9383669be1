/* A driver for a machine that has none: it does no work, but answers every call that dctflow makes. FAKE_CUDA says what is wrong with it, as
 * KEY=VALUE (init, version, count, major, fail, ...). What is taken and not given back is reported when the context is released. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef WITHOUT_DRIVER_FUNCTIONS
static long num_live = 0;
static uintptr_t num_handles = 0x1000;
static void *primary_context = NULL;
/* Of the one stream that is recorded at a time, if there is one. */
static atomic_int is_recording = 0;
static atomic_int is_spoilt = 0;
static _Thread_local void *current_context = NULL;

static int setting(const char *key, int otherwise) {
    const char *settings = getenv("FAKE_CUDA");
    size_t length = strlen(key);
    if (settings != NULL && strncmp(settings, key, length) == 0 && settings[length] == '=') {
        return atoi(settings + length + 1);
    }
    return otherwise;
}

static int take(void **handle) {
    num_live += 1;
    num_handles += 0x100;
    *handle = (void *)num_handles;
    return 0;
}

static int give_back(void) {
    num_live -= 1;
    return 0;
}

int cuInit(unsigned flags) { return (int)flags + setting("init", 0); }
int cuDriverGetVersion(int *version) { *version = setting("version", 13000); return 0; }
int cuGetErrorName(int code, const char **name) { *name = code == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : NULL; return 0; }
int cuDeviceGetCount(int *count) { *count = setting("count", 2); return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
int cuDeviceGetName(char *name, int length, int device) { (void)device; snprintf(name, (size_t)length, "Fake GPU"); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { (void)device; *bytes = (size_t)1 << 34; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    (void)device;
    *value = attribute == 75 ? setting("major", 9) : attribute == 97 ? 101376 : attribute == 16 ? 108 : attribute == 33 ? 0x1b : 0;
    return 0;
}
int cuDevicePrimaryCtxRetain(void **context, int device) { (void)device; take(context); primary_context = *context; return 0; }
int cuDevicePrimaryCtxRelease_v2(int device) {
    (void)device;
    give_back();
    primary_context = NULL;
    printf("not given back: %ld\n", num_live);
    fflush(stdout);
    return 0;
}
int cuCtxSetCurrent(void *context) { current_context = context; return context == NULL; }
/* For libraries beside this one. */
int cuCtxGetCurrent(void **context) { *context = primary_context == NULL ? NULL : current_context; return 0; }
int cuCtxSynchronize(void) {
    /* As the real one: refused while a stream of the context is recorded, by whatever thread, and the recording is lost. */
    is_spoilt |= is_recording;
    return is_recording ? 900 : 0;
}
int cuModuleLoadData(void **module, const void *image) { (void)image; return take(module) + setting("load", 0); }
int cuModuleUnload(void *module) { (void)module; return give_back(); }
int cuModuleGetFunction(void **function, void *module, const char *name) { (void)module; (void)name; *function = module; return 0; }
int cuFuncSetAttribute(void *function, int attribute, int value) { (void)function; return !(attribute == 8 && value == 101376); }
int cuMemAlloc_v2(uint64_t *address, size_t bytes) {
    void *handle = NULL;
    if (bytes > (size_t)1 << 34) {
        return 2;
    }
    take(&handle);
    *address = (uint64_t)(uintptr_t)handle;
    return 0;
}
int cuMemFree_v2(uint64_t address) { (void)address; return give_back(); }
int cuMemHostAlloc(void **memory, size_t bytes, unsigned flags) {
    if (flags != 0) {
        return 1;
    }
    num_live += 1;
    *memory = malloc(bytes);
    return 0;
}
int cuMemFreeHost(void *memory) { free(memory); return give_back(); }
int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, void *stream) {
    (void)to; (void)from; (void)bytes; (void)stream;
    return 0;
}
int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, void *stream) {
    (void)from; (void)stream;
    memset(to, 0, bytes);
    return 0;
}
int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void *stream) {
    (void)to; (void)from; (void)bytes; (void)stream;
    return 0;
}
int cuMemsetD8Async(uint64_t to, unsigned char byte, size_t bytes, void *stream) {
    (void)to; (void)byte; (void)bytes; (void)stream;
    return 0;
}
int cuStreamCreate(void **stream, unsigned flags) { return flags == 1 ? take(stream) : 1; }
int cuStreamDestroy_v2(void *stream) { (void)stream; return give_back(); }
/* The stream 0xF0 is another context's. */
int cuStreamGetCtx(void *stream, void **context) { *context = stream == (void *)0xF0 ? NULL : primary_context; return 0; }
int cuStreamIsCapturing(void *stream, int *status) { (void)stream; *status = !is_recording ? 0 : is_spoilt ? 2 : 1; return 0; }
/* As the real one, on a thread of the driver's, for which the stream waits: there is one stream with one such call at a time. */
struct host_call {
    void (*function)(void *);
    void *argument;
};
static struct host_call host_call;
static pthread_t host_thread;
static atomic_int has_host_call = 0;
static void *run_host_call(void *unused) {
    host_call.function(host_call.argument);
    return unused;
}
int cuLaunchHostFunc(void *stream, void (*function)(void *), void *argument) {
    (void)stream;
    host_call = (struct host_call){function, argument};
    has_host_call = 1;
    return pthread_create(&host_thread, NULL, run_host_call, NULL);
}
static int join_host_call(void) {
    if (atomic_exchange(&has_host_call, 0)) {
        pthread_join(host_thread, NULL);
        if (setting("host", 0)) {
            printf("a host function has run\n");
            fflush(stdout);
        }
    }
    return 0;
}
int cuStreamQuery(void *stream) { (void)stream; return has_host_call ? 600 : setting("stream", 0); }
int cuStreamWaitEvent(void *stream, void *event, unsigned flags) { (void)stream; (void)event; return (int)flags; }
/* Only such events let whoever waits for them sleep. */
int cuEventCreate(void **event, unsigned flags) { return flags == 1 ? take(event) : 1; }
int cuEventDestroy_v2(void *event) { (void)event; return give_back(); }
int cuEventRecord(void *event, void *stream) { (void)event; (void)stream; return 0; }
int cuEventQuery(void *event) { (void)event; return setting("query", 0); }
int cuEventSynchronize(void *event) { (void)event; return join_host_call() + setting("synchronize", 0); }
int cuEventElapsedTime(float *milliseconds, void *from, void *to) { (void)from; (void)to; *milliseconds = 1.5f; return 0; }
int cuStreamBeginCapture_v2(void *stream, unsigned mode) {
    (void)stream;
    is_spoilt = 0;
    is_recording = setting("capture", 0) == 0;
    return mode == 1 ? setting("capture", 0) : 1;
}
int cuStreamEndCapture(void *stream, void **graph) {
    (void)stream;
    is_recording = 0;
    *graph = NULL;
    return is_spoilt ? 901 : take(graph);
}
int cuGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long flags) {
    return graph == NULL || flags != 0 ? 1 : take(executable);
}
int cuGraphLaunch(void *executable, void *stream) { (void)stream; return executable == NULL; }
int cuGraphExecDestroy(void *executable) { (void)executable; return give_back(); }
int cuGraphDestroy(void *graph) { (void)graph; return give_back(); }
int cuProfilerStart(void) { return 0; }
int cuProfilerStop(void) { return 0; }
int cuLaunchKernel(void *function, unsigned x, unsigned y, unsigned z, unsigned bx, unsigned by, unsigned bz, unsigned smem_bytes,
                   void *stream, void **params, void **extra) {
    (void)function; (void)x; (void)y; (void)z; (void)smem_bytes; (void)stream;
    return params == NULL || params[0] == NULL || extra != NULL || bx % 128 != 0 || by != 1 || bz != 1;
}
#endif
