//! The emulator itself: the words of CUDA, the mistakes it must catch, and streams that run late.

mod forgetful;
mod mistakes;
#[path = "../common/say.rs"]
mod say;
mod selftest;
mod streams;
mod words;
#[path = "../common/wrapped.rs"]
mod wrapped;
