#![no_main]
//! See `crates/core/replica/tests/fuzz/targets.rs`, which `cargo test` runs too.

#[allow(dead_code)]
#[path = "../../crates/core/replica/tests/fuzz/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::actions(bytes));
