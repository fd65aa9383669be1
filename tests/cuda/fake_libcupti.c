/* A CUPTI for a machine that has none: it records one kernel and one copy, which it hands over when it is told to. With FAKE_CUPTI=busy another
 * profiler is there already. Structs as in cupti_activity.h (CUpti_ActivityKernel9, CUpti_ActivityMemcpy5), their ends left out. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    uint32_t kind;
    uint8_t cacheConfig, sharedMemoryConfig;
    uint16_t registersPerThread;
    uint32_t partitionedGlobalCacheRequested, partitionedGlobalCacheExecuted;
    uint64_t start, end, completed;
    uint32_t deviceId, contextId, streamId;
    int32_t gridX, gridY, gridZ, blockX, blockY, blockZ, staticSharedMemory, dynamicSharedMemory;
    uint32_t localMemoryPerThread, localMemoryTotal, correlationId;
    int64_t gridId;
    const char *name;
    void *reserved0;
    uint64_t queued, submitted;
} __attribute__((packed)) __attribute__((aligned(8))) Kernel;

typedef struct {
    uint32_t kind;
    uint8_t copyKind, srcKind, dstKind, flags;
    uint64_t bytes, start, end;
} __attribute__((packed)) __attribute__((aligned(8))) Memcpy;

static void (*request_buffer)(uint8_t **, size_t *, size_t *);
static void (*complete_buffer)(void *, uint32_t, uint8_t *, size_t, size_t);
static size_t next;

int cuptiActivityRegisterCallbacks(void (*requested)(uint8_t **, size_t *, size_t *),
                                   void (*completed)(void *, uint32_t, uint8_t *, size_t, size_t)) {
    request_buffer = requested;
    complete_buffer = completed;
    return 0;
}
int cuptiActivityEnable(uint32_t kind) {
    const char *setting = getenv("FAKE_CUPTI");
    return setting != NULL && strcmp(setting, "busy") == 0 ? 39 : kind != 10 && kind > 2;
}
int cuptiActivityDisable(uint32_t kind) { printf("disabled %u\n", kind); fflush(stdout); return 0; }
int cuptiActivityFlushAll(uint32_t flags) {
    if (flags != 0) {
        return flags != 1; /* nothing is left */
    }
    uint8_t *buffer;
    size_t size, max_records;
    request_buffer(&buffer, &size, &max_records);
    const Memcpy copy = {.kind = 1, .bytes = 64, .start = 5000, .end = 5500};
    const Kernel kernel = {.kind = 10, .registersPerThread = 40, .start = 1000, .end = 3500, .gridX = 4, .gridY = 1,
                           .gridZ = 1, .blockX = 256, .staticSharedMemory = 16, .dynamicSharedMemory = 64,
                           .name = "checksum_words_entry"};
    memcpy(buffer, &copy, sizeof copy);
    memcpy(buffer + sizeof copy, &kernel, sizeof kernel);
    next = 0;
    complete_buffer(NULL, 0, buffer, size, sizeof copy + sizeof kernel);
    return 0;
}
int cuptiActivityGetNextRecord(uint8_t *buffer, size_t valid_bytes, void **record) {
    if (next >= valid_bytes) {
        return 12; /* CUPTI_ERROR_MAX_LIMIT_REACHED */
    }
    *record = buffer + next;
    next += *(uint32_t *)*record == 1 ? sizeof(Memcpy) : sizeof(Kernel);
    return 0;
}
int cuptiGetResultString(int code, const char **text) { *text = code == 39 ? "CUPTI_ERROR_MULTIPLE_SUBSCRIBERS" : NULL; return 0; }
int cuptiGetTimestamp(uint64_t *now) { *now = 123; return 0; }
