// dctflow in C: JPEG files in, logits out. Written by ci/capi.sh from src/capi: change that.
//
// Every object is an opaque handle with a _free function, which takes NULL. Every function that can fail returns a dctflow_code_t;
// dctflow_message() says what was wrong. A session may be used by several threads at a time; every other handle belongs to one thread at
// a time.

#ifndef DCTFLOW_H
#define DCTFLOW_H

#include <stddef.h>
#include <stdint.h>

// What a call came to.
typedef enum {
  // Done.
  DCTFLOW_CODE_OK = 0,
  // Not now: every slot is taken, or the batch is not done. Not an error.
  DCTFLOW_CODE_BUSY = 1,
  // A file could not be read.
  DCTFLOW_CODE_IO = 2,
  // A weights file is missing, broken, or belongs to another network.
  DCTFLOW_CODE_WEIGHTS = 3,
  // An argument makes no sense.
  DCTFLOW_CODE_USAGE = 4,
  // No driver for the device, or one too old.
  DCTFLOW_CODE_NO_DRIVER = 5,
  // No such device.
  DCTFLOW_CODE_NO_DEVICE = 6,
  // This build holds no kernels for the device.
  DCTFLOW_CODE_KERNELS_NOT_BUILT = 7,
  // Too little memory.
  DCTFLOW_CODE_OUT_OF_MEMORY = 8,
  // The device reported an error; the session is unusable afterwards.
  DCTFLOW_CODE_DEVICE = 9,
  // A mistake of this library; please report it.
  DCTFLOW_CODE_INTERNAL = 10,
  // A library that was asked for is not on this machine, or is another version.
  DCTFLOW_CODE_NO_LIBRARY = 11,
} dctflow_code_t;

// Images on their way into a session.
typedef struct dctflow_batch_t dctflow_batch_t;

// What became of the images of a batch, in the order in which they were pushed.
typedef struct dctflow_outcomes_t dctflow_outcomes_t;

// A network on its devices, ready for batches.
typedef struct dctflow_session_t dctflow_session_t;

// The receipt for a submitted batch. It may outlive its session.
typedef struct dctflow_ticket_t dctflow_ticket_t;

// What became of one image.
typedef struct {
  // As given to `dctflow_batch_push`.
  uint64_t tag;
  // 0: complete; 1: partial; 2: failed.
  uint32_t status;
  // MCUs of the frame; 0 if the image failed before it was known.
  uint32_t mcus;
  // MCUs that are not to be trusted.
  uint32_t untrusted_mcus;
  // Scans that were received to their end.
  uint32_t scans_complete;
  // Why the image is not complete, as an identifier that stays the same, such as `truncated`; else NULL.
  const char *reason;
  // The same as a sentence; else NULL.
  const char *message;
  // One per class; NULL where the network did not run.
  const float *logits;
  // The number of classes; 0 where the network did not run.
  size_t num_logits;
  // The most likely classes, best first.
  const uint32_t *top_classes;
  // Their probabilities.
  const float *top_scores;
  // How many they are.
  size_t num_top;
} dctflow_outcome_t;

// Settings of a session. Zero bytes and NULL mean the default.
typedef struct {
  // Path of a safetensors file, UTF-8. There is no default.
  const char *weights_path;
  // `auto`, `cpu`, `cuda`, `cuda:N` or `emulator`; several, separated by commas, work behind one front. Default: auto.
  const char *device;
  // How images are resized and cropped, such as `short=256,crop=224`. Default: as the weights say.
  const char *transform;
  // Partial images: `strict`, `lenient`, `lenient:F` or `skip`. Default: lenient.
  const char *policy;
  // Images that run at once. Default: 16.
  uint32_t max_batch;
  // Batches in flight on each device. Default: 2.
  uint32_t slots;
  // Classes in an outcome's `top`. Default: 5.
  uint32_t topk;
  // Threads of the CPU. Default: one per core.
  uint32_t threads;
  // A CUstream (or cudaStream_t) of the one device's primary context, to be joined: what is on it when a batch is submitted happens
  // before the batch writes to `dctflow_batch_write_logits_to`'s memory, what is put there after `dctflow_submit` has returned happens
  // after the batch. It must outlive the session. NULL: none; the default stream is CU_STREAM_LEGACY. CU_STREAM_PER_THREAD, another stream
  // in each thread, is refused.
  void *stream;
  // What carries out convolutions on a GPU: `kernels` (this library's own) or `libraries` (cuBLASLt and cuDNN). Default: kernels.
  const char *ops;
  // Not 0: no CUDA graphs. To record one takes a millisecond or so once for each size of batch, during which the driver refuses all waits
  // for the whole device (cudaDeviceSynchronize) by any thread of the process; a program that has such waits says 1.
  uint32_t no_graphs;
} dctflow_options_t;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// What was wrong in this thread's last call that failed: one sentence, UTF-8. Empty if none did. Valid until the next call that fails in
// this thread.
const char *dctflow_message(void);

// How many images they are about; 0 for NULL.
// `outcomes` is NULL or a handle.
size_t dctflow_outcomes_len(const dctflow_outcomes_t *outcomes);

// What became of the image `image_idx`. The pointers in it are valid until the outcomes are freed.
// `outcomes` is a handle; `outcome` points to a place for the struct.
dctflow_code_t dctflow_outcome(const dctflow_outcomes_t *outcomes, size_t image_idx, dctflow_outcome_t *outcome);

// Frees the outcomes of a batch.
// `outcomes` is NULL or a handle that was not freed.
void dctflow_outcomes_free(dctflow_outcomes_t *outcomes);

// The library's version, such as `0.1.0`.
const char *dctflow_version(void);

// Starts a session.
// `options` points to settings whose strings end with a zero byte; `session` to a place for a handle.
dctflow_code_t dctflow_session_new(const dctflow_options_t *options, dctflow_session_t **session);

// Ends a session after all that was submitted. Its tickets stay valid.
// `session` is NULL or a handle that was not freed; nobody uses it any more.
void dctflow_session_free(dctflow_session_t *session);

// An empty batch.
dctflow_batch_t *dctflow_batch_new(void);

// Adds a JPEG file of `len_bytes` bytes, which are copied. `tag` comes back in the outcome.
// `batch` is a handle; `bytes` points to as many bytes (or is NULL, for none).
dctflow_code_t dctflow_batch_push(dctflow_batch_t *batch, const uint8_t *bytes, size_t len_bytes, uint64_t tag);

// Has the logits of a batch written to device memory besides, float `[images][classes]`, at a CUdeviceptr of the session's device. Rows of
// images without logits mean nothing. What uses the memory joins its stream (`dctflow_options_t`), or waits for the batch first. For a session of
// one device: with several the batch fails, `DCTFLOW_CODE_USAGE`.
// `session` and `batch` are handles; `len_bytes` at `device_pointer` are memory of the session's device until the batch was waited for.
dctflow_code_t dctflow_batch_write_logits_to(const dctflow_session_t *session,
                                             dctflow_batch_t *batch,
                                             uint64_t device_pointer,
                                             size_t len_bytes);

// Gives a batch back that was never submitted.
// `batch` is NULL or a handle that was not freed.
void dctflow_batch_free(dctflow_batch_t *batch);

// Submits the images of a batch and leaves it empty, to be filled again or freed. Waits, if it must, for a free slot, never until the batch is
// done; where a stream is joined, until the batch is on the device's queues.
// `session` and `batch` are handles; `ticket` points to a place for one.
dctflow_code_t dctflow_submit(const dctflow_session_t *session,
                              dctflow_batch_t *batch,
                              dctflow_ticket_t **ticket);

// As `dctflow_submit`, but never waits: `DCTFLOW_CODE_BUSY` leaves the batch as it was when every slot is taken. Where a stream is joined, only
// what is put there after `dctflow_is_on_its_way` has said yes comes after the batch.
// As `dctflow_submit`.
dctflow_code_t dctflow_try_submit(const dctflow_session_t *session,
                                  dctflow_batch_t *batch,
                                  dctflow_ticket_t **ticket);

// Whether the whole batch is on the device's queues, or done: 1 or 0. Never waits. 0 for NULL.
// `ticket` is NULL or a handle.
int32_t dctflow_is_on_its_way(const dctflow_ticket_t *ticket);

// Waits until the whole batch is on the device's queues, but not until it is done. Nothing for NULL.
// `ticket` is NULL or a handle.
void dctflow_wait_until_on_its_way(const dctflow_ticket_t *ticket);

// Gives back the memory that batches have had a session take; the next one takes it anew. Waits for the batches that run.
// `session` is a handle.
dctflow_code_t dctflow_session_trim(const dctflow_session_t *session);

// Waits for a batch. `*ticket` is freed and becomes NULL, whatever the answer.
// `ticket` points to a handle, `outcomes` to a place for one.
dctflow_code_t dctflow_wait(dctflow_ticket_t **ticket, dctflow_outcomes_t **outcomes);

// As `dctflow_wait`, but never waits: `DCTFLOW_CODE_BUSY` leaves the ticket to be asked again.
// As `dctflow_wait`.
dctflow_code_t dctflow_try_wait(dctflow_ticket_t **ticket, dctflow_outcomes_t **outcomes);

// Frees a ticket that nobody wants to wait for. Its batch runs all the same.
// `ticket` is NULL or a handle that was not freed.
void dctflow_ticket_free(dctflow_ticket_t *ticket);

// What was wrong in this thread's last call that failed: one sentence, UTF-8. Empty if none did. Valid until the next call that fails in
// this thread.
const char *dctflow_message(void);

// How many images they are about; 0 for NULL.
// `outcomes` is NULL or a handle.
size_t dctflow_outcomes_len(const dctflow_outcomes_t *outcomes);

// What became of the image `image_idx`. The pointers in it are valid until the outcomes are freed.
// `outcomes` is a handle; `outcome` points to a place for the struct.
dctflow_code_t dctflow_outcome(const dctflow_outcomes_t *outcomes, size_t image_idx, dctflow_outcome_t *outcome);

// Frees the outcomes of a batch.
// `outcomes` is NULL or a handle that was not freed.
void dctflow_outcomes_free(dctflow_outcomes_t *outcomes);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* DCTFLOW_H */
