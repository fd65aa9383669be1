//! What the integration tests share. Each test program uses a part of it.
#![allow(dead_code)]

pub mod cases;
pub mod compare;
pub mod engines;
pub mod library;
pub mod malformed;
pub mod matrix;
pub mod odd;
pub mod oracle;
pub mod oracle12;
pub mod suite;
