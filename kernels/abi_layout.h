/* Written by ci/abi.sh: every C++ compiler lays out the structs of abi.h as Rust does. */
#include <stddef.h>

static_assert(sizeof(ChecksumWordsParams) == 24, "");
static_assert(offsetof(ChecksumWordsParams, words) == 0, "");
static_assert(offsetof(ChecksumWordsParams, checksum) == 8, "");
static_assert(offsetof(ChecksumWordsParams, num_words) == 16, "");
static_assert(offsetof(ChecksumWordsParams, reserved) == 20, "");
static_assert(sizeof(SelftestParams) == 32, "");
static_assert(offsetof(SelftestParams, out) == 0, "");
static_assert(offsetof(SelftestParams, scratch) == 8, "");
static_assert(offsetof(SelftestParams, num_out) == 16, "");
static_assert(offsetof(SelftestParams, num_scratch) == 20, "");
static_assert(offsetof(SelftestParams, which) == 24, "");
static_assert(offsetof(SelftestParams, reserved) == 28, "");
