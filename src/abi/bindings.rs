// Written by ci/abi.sh from kernels/abi.h and kernels/selftest/abi.h: change those.

pub const WARP_THREADS: u32 = 32;
#[doc = " Parameters of `checksum_words`: a digest of device memory, independent of the order in which it is read."]
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct ChecksumWordsParams {
    #[doc = " [num_words]: what to digest."]
    pub words: *const u32,
    #[doc = " [1]: the digest is added to it, modulo 2^64."]
    pub checksum: *mut u64,
    #[doc = " Length of `words`."]
    pub num_words: u32,
    #[doc = " Zero."]
    pub reserved: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of ChecksumWordsParams"][::core::mem::size_of::<ChecksumWordsParams>() - 24usize];
    ["Alignment of ChecksumWordsParams"][::core::mem::align_of::<ChecksumWordsParams>() - 8usize];
    ["Offset of field: ChecksumWordsParams::words"][::core::mem::offset_of!(ChecksumWordsParams, words) - 0usize];
    ["Offset of field: ChecksumWordsParams::checksum"][::core::mem::offset_of!(ChecksumWordsParams, checksum) - 8usize];
    ["Offset of field: ChecksumWordsParams::num_words"]
        [::core::mem::offset_of!(ChecksumWordsParams, num_words) - 16usize];
    ["Offset of field: ChecksumWordsParams::reserved"]
        [::core::mem::offset_of!(ChecksumWordsParams, reserved) - 20usize];
};
impl Default for ChecksumWordsParams {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const WORD_SYNCTHREADS: SelftestWord = 0;
pub const WORD_SYNCTHREADS_COUNT: SelftestWord = 1;
pub const WORD_SYNCTHREADS_AND: SelftestWord = 2;
pub const WORD_SYNCTHREADS_OR: SelftestWord = 3;
pub const WORD_BARRIER_SYNC_COUNT: SelftestWord = 4;
pub const WORD_SYNCWARP: SelftestWord = 5;
pub const WORD_SHFL: SelftestWord = 6;
pub const WORD_SHFL_UP: SelftestWord = 7;
pub const WORD_SHFL_DOWN: SelftestWord = 8;
pub const WORD_SHFL_XOR: SelftestWord = 9;
pub const WORD_SHFL_SEGMENT: SelftestWord = 10;
pub const WORD_SHFL_64_BIT: SelftestWord = 11;
pub const WORD_BALLOT: SelftestWord = 12;
pub const WORD_ANY_ALL: SelftestWord = 13;
pub const WORD_MATCH_ANY: SelftestWord = 14;
pub const WORD_MATCH_ALL: SelftestWord = 15;
pub const WORD_REDUCE: SelftestWord = 16;
pub const WORD_PARTIAL_MASKS: SelftestWord = 17;
pub const WORD_ACTIVEMASK: SelftestWord = 18;
pub const WORD_ATOMIC_ADD: SelftestWord = 19;
pub const WORD_ATOMIC_MIN_MAX: SelftestWord = 20;
pub const WORD_ATOMIC_BITS: SelftestWord = 21;
pub const WORD_ATOMIC_CAS_EXCH: SelftestWord = 22;
pub const WORD_ATOMIC_64_BIT: SelftestWord = 23;
pub const WORD_ATOMIC_FLOAT: SelftestWord = 24;
pub const WORD_COUNT_BITS: SelftestWord = 25;
pub const WORD_REVERSE_BITS: SelftestWord = 26;
pub const WORD_BYTE_PERM: SelftestWord = 27;
pub const WORD_FUNNELSHIFT: SelftestWord = 28;
pub const WORD_MULTIPLY_HIGH: SelftestWord = 29;
pub const WORD_REINTERPRET: SelftestWord = 30;
pub const WORD_MIN_MAX: SelftestWord = 31;
pub const WORD_LOAD_STORE: SelftestWord = 32;
pub const WORD_VECTORS: SelftestWord = 33;
pub const WORD_HALF: SelftestWord = 34;
pub const WORD_ASYNC_COPY: SelftestWord = 35;
pub const WORD_ASYNC_COPY_GROUPS: SelftestWord = 36;
pub const WORD_SMEM_TAIL: SelftestWord = 37;
pub const WORD_INDICES: SelftestWord = 38;
pub const WORD_COUNT: SelftestWord = 39;
pub const WORD_NANOSLEEP: SelftestWord = 40;
pub const NUM_WORDS: SelftestWord = 41;
#[doc = " One word of CUDA (or a family of words) whose meaning `run_word` shows."]
pub type SelftestWord = ::core::ffi::c_uint;
pub const MISTAKE_MISSING_BARRIER: SelftestMistake = 0;
pub const MISTAKE_BARRIER_IN_BRANCH: SelftestMistake = 1;
pub const MISTAKE_EXIT_BEFORE_BARRIER: SelftestMistake = 2;
pub const MISTAKE_TWO_BARRIERS: SelftestMistake = 3;
pub const MISTAKE_UNEQUAL_BARRIER_COUNTS: SelftestMistake = 4;
pub const MISTAKE_BARRIER_AGAINST_WARP: SelftestMistake = 5;
pub const MISTAKE_LANE_NEVER_COMES: SelftestMistake = 6;
pub const MISTAKE_MASK_WITHOUT_SELF: SelftestMistake = 7;
pub const MISTAKE_MASK_NAMES_EXITED: SelftestMistake = 8;
pub const MISTAKE_EXIT_WHILE_AWAITED: SelftestMistake = 9;
pub const MISTAKE_DIFFERENT_OPERATIONS: SelftestMistake = 10;
pub const MISTAKE_SHUFFLE_FROM_OUTSIDE: SelftestMistake = 11;
pub const MISTAKE_READ_FAR_BEHIND_BUFFER: SelftestMistake = 12;
pub const MISTAKE_READ_BEFORE_BUFFER: SelftestMistake = 13;
pub const MISTAKE_WRITE_JUST_BEHIND_BUFFER: SelftestMistake = 14;
pub const MISTAKE_WRITE_NULL: SelftestMistake = 15;
pub const MISTAKE_READ_FAR_BEHIND_SMEM: SelftestMistake = 16;
pub const MISTAKE_WRITE_JUST_BEHIND_SMEM: SelftestMistake = 17;
pub const MISTAKE_UNINITIALISED_SMEM: SelftestMistake = 18;
pub const MISTAKE_STACK_OVERFLOW: SelftestMistake = 19;
pub const MISTAKE_READ_BEFORE_ASYNC_COPY_LANDS: SelftestMistake = 20;
pub const MISTAKE_ASYNC_COPY_NEVER_AWAITED: SelftestMistake = 21;
pub const MISTAKE_SPIN_FOR_EVER: SelftestMistake = 22;
pub const MISTAKE_CHECK_THEN_ACT: SelftestMistake = 23;
pub const MISTAKE_TRAP: SelftestMistake = 24;
pub const NUM_MISTAKES: SelftestMistake = 25;
#[doc = " A mistake that `break_rule` makes on purpose."]
pub type SelftestMistake = ::core::ffi::c_uint;
#[doc = " Parameters of both kernels."]
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct SelftestParams {
    #[doc = " [num_out]: what each thread found."]
    pub out: *mut u32,
    #[doc = " [num_scratch]: memory that CTAs share."]
    pub scratch: *mut u32,
    #[doc = " Length of `out`."]
    pub num_out: u32,
    #[doc = " Length of `scratch`."]
    pub num_scratch: u32,
    #[doc = " A SelftestWord or SelftestMistake."]
    pub which: u32,
    #[doc = " Zero."]
    pub reserved: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of SelftestParams"][::core::mem::size_of::<SelftestParams>() - 32usize];
    ["Alignment of SelftestParams"][::core::mem::align_of::<SelftestParams>() - 8usize];
    ["Offset of field: SelftestParams::out"][::core::mem::offset_of!(SelftestParams, out) - 0usize];
    ["Offset of field: SelftestParams::scratch"][::core::mem::offset_of!(SelftestParams, scratch) - 8usize];
    ["Offset of field: SelftestParams::num_out"][::core::mem::offset_of!(SelftestParams, num_out) - 16usize];
    ["Offset of field: SelftestParams::num_scratch"][::core::mem::offset_of!(SelftestParams, num_scratch) - 20usize];
    ["Offset of field: SelftestParams::which"][::core::mem::offset_of!(SelftestParams, which) - 24usize];
    ["Offset of field: SelftestParams::reserved"][::core::mem::offset_of!(SelftestParams, reserved) - 28usize];
};
impl Default for SelftestParams {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
