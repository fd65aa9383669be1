/* Reads the coefficients of one JPEG in memory with libjpeg-turbo and hands them on piece by piece. */

#include <setjmp.h>
#include <stdio.h>
#include <stdint.h>
#include <string.h>
#include <jpeglib.h>

typedef void (*sink_fn)(void *context, const uint8_t *bytes, size_t num_bytes);

struct error_manager {
  struct jpeg_error_mgr base;
  jmp_buf escape;
  char *message;
};

static void error_exit(j_common_ptr cinfo)
{
  struct error_manager *manager = (struct error_manager *)cinfo->err;
  manager->base.format_message(cinfo, manager->message);
  longjmp(manager->escape, 1);
}

static void count_warnings(j_common_ptr cinfo, int level)
{
  if (level < 0)
    cinfo->err->num_warnings++;
}

static void sink_u32(sink_fn sink, void *context, uint32_t value)
{
  const uint8_t bytes[4] = { value, value >> 8, value >> 16, value >> 24 };
  sink(context, bytes, sizeof bytes);
}

static void sink_component(j_decompress_ptr cinfo, jpeg_component_info *component, jvirt_barray_ptr array, sink_fn sink,
                           void *context)
{
  sink_u32(sink, context, component->width_in_blocks);
  sink_u32(sink, context, component->height_in_blocks);
  for (JDIMENSION row = 0; row < component->height_in_blocks; row++) {
    JBLOCKROW blocks = *cinfo->mem->access_virt_barray((j_common_ptr)cinfo, array, row, 1, FALSE);
    for (size_t i = 0; i < (size_t)component->width_in_blocks * DCTSIZE2; i++) {
      const JCOEF value = (*blocks)[i];
      const uint8_t bytes[2] = { value & 0xFF, (value >> 8) & 0xFF };
      sink(context, bytes, sizeof bytes);
    }
  }
}

/* Hands width and height in blocks and the coefficients of each component to `sink`. Returns the number of warnings; -1 on an
   error, with its message (at most JMSG_LENGTH_MAX = 200 bytes) in `message`. */
int oracle12_read(const uint8_t *file, size_t num_bytes, sink_fn sink, void *context, char *message)
{
  struct jpeg_decompress_struct cinfo;
  struct error_manager manager;
  cinfo.err = jpeg_std_error(&manager.base);
  manager.base.error_exit = error_exit;
  manager.base.emit_message = count_warnings;
  manager.message = message;
  jpeg_create_decompress(&cinfo);
  if (setjmp(manager.escape)) {
    jpeg_destroy_decompress(&cinfo);
    return -1;
  }
  jpeg_mem_src(&cinfo, file, num_bytes);
  jpeg_read_header(&cinfo, TRUE);
  jvirt_barray_ptr *arrays = jpeg_read_coefficients(&cinfo);
  for (int i = 0; i < cinfo.num_components; i++)
    sink_component(&cinfo, &cinfo.comp_info[i], arrays[i], sink, context);
  const int num_warnings = (int)manager.base.num_warnings;
  jpeg_destroy_decompress(&cinfo);
  return num_warnings;
}
