//! The emulator itself: the words of CUDA, the mistakes it must catch, and streams that run late.

mod selftest;
mod words;
