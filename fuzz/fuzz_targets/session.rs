#![no_main]
//! A session that receives the responses in the input.
//!
//! The target is in `crates/core/replica/tests/fuzz/targets.rs`; `cargo test` runs it on seeds.

#[allow(dead_code)]
#[path = "../../crates/core/replica/tests/fuzz/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::session(bytes));
